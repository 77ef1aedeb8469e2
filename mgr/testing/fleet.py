"""Daemons that a test makes up: what modules read of hosts, metadata and counters."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

from mgr.module_api.release import version_line

POINTS_MAX: Final = 20
"""What a manager keeps of each counter."""


class Fleet:
    """Daemons by name (``osd.0``), as a test adds them. What modules read is their own copy."""

    def __init__(self) -> None:
        """Begin without a daemon."""
        self._metadata: dict[str, dict[str, str]] = {}
        self._status: dict[str, dict[str, str]] = {}
        self._schemas: dict[tuple[str, bool], dict[str, Any]] = {}
        self._points: dict[tuple[object, ...], list[list[float]]] = {}

    # -- what a test says -------------------------------------------------------------------

    def add(self, daemon: str, hostname: str = "host", **metadata: str) -> None:
        """A daemon joins from ``hostname``, with more to say of itself."""
        self._metadata[daemon] = {"hostname": hostname, **metadata}

    def report(self, daemon: str, **status: str) -> None:
        """A daemon says how it is."""
        self._status[daemon] = status

    def declare(self, daemon: str, path: str, *, type: int = 0, priority: int = 5) -> None:  # noqa: A002 - ceph-mgr's word
        """A daemon counts something."""
        schema = {"description": "", "type": type, "priority": priority, "units": 1}
        self._schemas.setdefault((daemon, False), {})[path] = schema

    def declare_labelled(self, daemon: str, key: str, families: list[dict[str, Any]]) -> None:
        """A daemon counts something by labels: ``{"labels", "counters": {name: schema}}``."""
        self._schemas.setdefault((daemon, True), {})[key] = families

    def count(self, daemon: str, path: str, *point: float) -> None:
        """A daemon reports a point: time and value, or time, sum and count."""
        self._points.setdefault((daemon, path), []).append(list(point))

    def count_labelled(
        self, daemon: str, key: str, counter: str, labels: dict[str, str], *point: float
    ) -> None:
        """As ``count``, of a counter with labels."""
        place = (daemon, key, counter, *labels.items())
        self._points.setdefault(place, []).append(list(point))

    # -- what a module reads ----------------------------------------------------------------

    def get_servers(self) -> list[dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        servers: dict[str, dict[str, Any]] = {}
        for daemon, said in self._metadata.items():
            kind, _, name = daemon.partition(".")
            host, line = said["hostname"], said.get("ceph_version", version_line())
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

    def get_perf_schema(self, kind: str, name: str, *, labelled: bool) -> dict[str, dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        return {
            daemon: copy.deepcopy(schemas)
            for (daemon, is_labelled), schemas in self._schemas.items()
            if is_labelled == labelled
            and (not kind or daemon.partition(".")[0] == kind)
            and (not name or daemon.partition(".")[2] == name)
        }

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
