"""A fake fleet for tests: daemons with hosts, metadata and counters, which modules read."""

from __future__ import annotations

import copy
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final

from mgr.module_api.ceph.release import version_line
from mgr.module_api.parts.counters import CountersMixin
from mgr.testing.clock import STARTS_AT

POINTS_MAX: Final = 20
"""Points that a manager keeps of each counter."""
KINDS: Final = {
    CountersMixin.PERFCOUNTER_COUNTER: "counter",
    CountersMixin.PERFCOUNTER_LONGRUNAVG: "average",
    CountersMixin.PERFCOUNTER_HISTOGRAM: "histogram",
}


class FakeFleet:
    """Daemons by name (``osd.0``), as a test adds them. Modules read copies."""

    def __init__(self) -> None:
        """Begin without daemons."""
        self._metadata: dict[str, dict[str, str]] = {}
        self._status: dict[str, dict[str, str]] = {}
        self._states: dict[str, str] = {}
        self._schemas: dict[tuple[str, bool], dict[str, Any]] = {}
        self._points: dict[tuple[object, ...], list[list[float]]] = {}

    # -- for tests --------------------------------------------------------------------------

    def add(self, daemon: str, hostname: str = "host", **metadata: str) -> None:
        """Add a daemon on ``hostname``, with further metadata."""
        self._metadata[daemon] = {"hostname": hostname, **metadata}

    def report(self, daemon: str, **status: str) -> None:
        """Set the status that a daemon reported."""
        self._status[daemon] = status

    def set_state(self, daemon: str, state: str) -> None:
        """Set a daemon's state: ``reporting`` (as at first), ``awaited`` or ``silent``."""
        self._states[daemon] = state

    def declare(
        self,
        daemon: str,
        path: str,
        *,
        type: int = 0,  # noqa: A002 - ceph-mgr's word
        priority: int = 5,
        description: str = "",
        bounds: Sequence[float] = (),
    ) -> None:
        """Declare a counter of a daemon; ``bounds`` are those of a histogram's buckets."""
        schema = {
            "description": description,
            "type": type,
            "priority": priority,
            "units": 1,
            **({"bounds": list(bounds)} if bounds else {}),
        }
        self._schemas.setdefault((daemon, False), {})[path] = schema

    def declare_labelled(self, daemon: str, key: str, families: list[dict[str, Any]]) -> None:
        """Declare counters with labels: ``{"labels", "counters": {name: schema}}``."""
        self._schemas.setdefault((daemon, True), {})[key] = families

    def count(self, daemon: str, path: str, *point: float) -> None:
        """Add a point of a counter: time and value, or time, sum and count."""
        self._points.setdefault((daemon, path), []).append(list(point))

    def count_labelled(
        self, daemon: str, key: str, counter: str, labels: dict[str, str], *point: float
    ) -> None:
        """Add a point of a counter with labels."""
        place = (daemon, key, counter, *labels.items())
        self._points.setdefault(place, []).append(list(point))

    # -- for modules ------------------------------------------------------------------------

    def get_servers(self) -> list[dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        servers: dict[str, dict[str, Any]] = {}
        for daemon, metadata in self._metadata.items():
            kind, _, name = daemon.partition(".")
            host, line = metadata["hostname"], metadata.get("ceph_version", version_line())
            empty = {"hostname": host, "services": [], "ceph_version": line}
            services = servers.setdefault(host, empty)["services"]
            services.append({"type": kind, "id": name, "ceph_version": line})
        return list(servers.values())

    def get_metadata(self, kind: str, name: str) -> dict[str, str]:
        """See ``mgr.module_api.context``."""
        return dict(self._metadata.get(f"{kind}.{name}", {}))

    def get_daemon_status(self, kind: str, name: str) -> dict[str, str] | None:
        """See ``mgr.module_api.context``."""
        daemon = f"{kind}.{name}"
        return dict(self._status.get(daemon, {})) if daemon in self._metadata else None

    def get_daemon_health_metrics(self) -> dict[str, list[dict[str, Any]]]:
        """See ``mgr.module_api.context``."""
        return {daemon: [] for daemon in self._metadata}

    def document(self, name: str) -> dict[str, Any] | None:
        """Make ``service_map``, ``devices`` (always empty) or the metadata of a daemon type."""
        daemons = [daemon.partition(".") for daemon in self._metadata]
        kinds = sorted({kind for kind, _, _ in daemons} - {"mgr"})
        if name == "service_map":
            services = {kind: {"daemons": self._services(kind)} for kind in kinds}
            return {"epoch": 1, "modified": STARTS_AT.isoformat(), "services": services}
        if name == "devices":
            return {"devices": []}
        kind = name.removesuffix("_metadata")
        if kind != name and kind in {*kinds, "osd", "mds"}:
            return {each: self.get_metadata(kind, each) for of, _, each in daemons if of == kind}
        return None

    def _services(self, kind: str) -> dict[str, Any]:
        services: dict[str, Any] = {"summary": ""}
        for daemon, metadata in self._metadata.items():
            of, _, name = daemon.partition(".")
            if of == kind:
                services[name] = {
                    "start_epoch": 1,
                    "start_stamp": STARTS_AT.isoformat(),
                    "gid": 1,
                    "addr": metadata["hostname"],
                    "metadata": dict(metadata),
                    "task_status": {},
                }
        return services

    def get_perf_schema(self, kind: str, name: str, *, labelled: bool) -> dict[str, dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        return {
            daemon: copy.deepcopy(schemas)
            for (daemon, is_labelled), schemas in self._schemas.items()
            if is_labelled == labelled
            and (not kind or daemon.partition(".")[0] == kind)
            and (not name or daemon.partition(".")[2] == name)
        }

    def get_daemons(self) -> list[dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        return [
            {
                "name": daemon,
                "type": daemon.partition(".")[0],
                "id": daemon.partition(".")[2],
                "hostname": metadata["hostname"],
                "version": metadata.get("ceph_version", version_line()),
                "state": self._states.get(daemon, "reporting"),
                "since": STARTS_AT.isoformat(),
                "reported_at": None,
            }
            for daemon, metadata in self._metadata.items()
            if not daemon.startswith("mgr.")
        ]

    def get_counter_rows(self, kind: str, lowest_priority: int) -> list[dict[str, Any]]:
        """See ``mgr.module_api.context``. No two daemons share an entry here."""
        found = []
        for daemon in self._metadata:
            silent = self._states.get(daemon) == "silent"
            if silent or kind not in {"", daemon.partition(".")[0]}:
                continue
            row, before, counters = array("d", [0.0]), array("d", [0.0]), []
            for path, labels, schema in self._counters_of(daemon):
                points = self._points.get((daemon, *path, *labels.items()))
                if points and schema["priority"] >= lowest_priority:
                    for target, point in ((row, points[-1]), (before, points[-2:][0])):
                        target[0] = max(target[0], point[0])
                        target.extend(point[1:])
                    width = len(points[-1]) - 1
                    counters.append(_column(".".join(path), labels, schema, len(row), width))
            if counters:
                earlier = {daemon: before} if before[0] < row[0] else {}
                found.append({"counters": counters, "rows": {daemon: row}, "before": earlier})
        return found

    def _counters_of(self, daemon: str) -> Iterator[tuple[tuple[str, ...], dict[str, str], Any]]:
        for path, schema in self._schemas.get((daemon, False), {}).items():
            yield (path,), {}, schema
        for key, families in self._schemas.get((daemon, True), {}).items():
            for family in families:
                for name, schema in family["counters"].items():
                    yield (key, name), family["labels"], schema

    def get_counter(self, kind: str, name: str, path: str) -> list[list[float]]:
        """See ``mgr.module_api.context``."""
        return copy.deepcopy(self._points.get((f"{kind}.{name}", path), [])[-POINTS_MAX:])

    def get_latest_counter(self, kind: str, name: str, path: str) -> list[float]:
        """See ``mgr.module_api.context``."""
        points = self.get_counter(kind, name, path)
        return points[-1] if points else []

    def get_latest_labelled_counter(
        self, kind: str, name: str, key: str, counter: str, labels: Sequence[tuple[str, str]]
    ) -> list[float]:
        """See ``mgr.module_api.context``."""
        points = self._points.get((f"{kind}.{name}", key, counter, *labels), [])
        return list(points[-1]) if points else []


def _column(
    path: str, labels: dict[str, str], schema: dict[str, Any], stop: int, width: int
) -> dict[str, Any]:
    counter_type = schema.get("type", 0) & CountersMixin.PERFCOUNTER_TYPE_MASK
    return {
        "path": path,
        "kind": KINDS.get(counter_type, "gauge"),
        "description": schema.get("description", ""),
        "unit": "",
        "priority": schema["priority"],
        "labels": dict(labels),
        "bounds": schema.get("bounds", []),
        "start": stop - width,
        "stop": stop,
    }
