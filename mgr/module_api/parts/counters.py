"""Lets a module read the performance counters that daemons report.

There are two generations of names. Up to Reef a counter is identified by its path
(``get_counter``, ``get_latest``). Tentacle calls those ``unlabeled`` and uses the short names for
counters with labels. ``get_perf_schema`` exists in both: modules for Tentacle, recognised by their
``CLICommand`` attribute, get the labelled one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from mgr.module_api.declared import ActiveModuleBase

T = TypeVar("T")

SERVICES: Final = ("mds", "mon", "osd", "rbd-mirror", "cephfs-mirror", "rgw", "tcmu-runner")
NANOSECONDS: Final = 1_000_000_000
MIRRORED_IMAGE: Final = re.compile(
    r"rbd_mirror_image_([^/]+)/(?:([^/]+)/)?(.*)\.(replay(?:_bytes|_latency)?)"
)

PerfCounterT = dict[str, Any]
Labels = Sequence[tuple[str, str]]
Average = tuple[float, float]


class CountersMixin(ActiveModuleBase):
    """Gives a module the performance counters of all daemons: schemas, points and newest values.

    A point is ``[time, value]``, or ``[time, sum, count]`` of a long-running average; lists are
    ordered oldest first. An unknown daemon or counter gives an empty result, never an error.
    """

    PRIO_CRITICAL = 10
    PRIO_INTERESTING = 8
    PRIO_USEFUL = 5
    PRIO_UNINTERESTING = 2
    PRIO_DEBUGONLY = 0

    PERFCOUNTER_TIME = 1
    PERFCOUNTER_U64 = 2
    PERFCOUNTER_LONGRUNAVG = 4
    PERFCOUNTER_COUNTER = 8
    PERFCOUNTER_HISTOGRAM = 0x10
    PERFCOUNTER_TYPE_MASK = ~3

    BYTES = 0
    NONE = 1

    # -- what there is ----------------------------------------------------------------------

    def get_perf_schema(self, svc_type: str, svc_name: str) -> dict[str, dict[str, Any]]:
        """Return counter schemas by daemon and path; for modules for Tentacle, with labels."""
        labelled = isinstance(getattr(type(self), "CLICommand", None), type)
        return self._context.get_perf_schema(svc_type, svc_name, labelled=labelled)

    def get_unlabeled_perf_schema(self, svc_type: str, svc_name: str) -> dict[str, dict[str, Any]]:
        """Return description, type, priority and unit by daemon and path. Empty text: all."""
        return self._context.get_perf_schema(svc_type, svc_name, labelled=False)

    # -- by path ----------------------------------------------------------------------------

    def get_unlabeled_counter(self, svc_type: str, svc_name: str, path: str) -> dict[str, Any]:
        """Return the last points of a counter, at most 20, under its path."""
        return {path: self._context.get_counter(svc_type, svc_name, path)}

    def get_latest_unlabeled_counter(
        self, svc_type: str, svc_name: str, path: str
    ) -> dict[str, Any]:
        """Return the newest point of a counter under its path; empty if there is none."""
        return {path: self._context.get_latest_counter(svc_type, svc_name, path)}

    def get_unlabeled_counter_latest(self, svc_type: str, svc_name: str, counter: str) -> Any:
        """Return the newest value; 0 if there is none."""
        return _value(self._context.get_latest_counter(svc_type, svc_name, counter))

    def get_unlabeled_counter_latest_avg(
        self, svc_type: str, svc_name: str, counter: str
    ) -> Average:
        """Return the newest sum and count; zeros if there is none."""
        return _average(self._context.get_latest_counter(svc_type, svc_name, counter))

    get_counter = get_unlabeled_counter
    get_latest = get_unlabeled_counter_latest
    get_latest_avg = get_unlabeled_counter_latest_avg

    def get_unlabeled_perf_counters(
        self, prio_limit: int = PRIO_USEFUL, services: Sequence[str] = SERVICES
    ) -> dict[str, dict[str, Any]]:
        """Return counters of at least ``prio_limit`` with newest value, by daemon and path."""
        found: dict[str, dict[str, Any]] = defaultdict(dict)
        for kind, name in self._daemons(services):
            schemas = self._context.get_perf_schema(kind, name, labelled=False)
            for path, schema in schemas.get(f"{kind}.{name}", {}).items():
                if schema["priority"] >= prio_limit:
                    point = self._context.get_latest_counter(kind, name, path)
                    found[f"{kind}.{name}"][path] = self._valued(schema, point)
        return found

    get_all_perf_counters = get_unlabeled_perf_counters

    # -- with labels ------------------------------------------------------------------------

    def get_latest_counter(
        self,
        svc_type: str,
        svc_name: str,
        counter_name: str,
        sub_counter_name: str | None = None,
        labels: Labels | None = None,
    ) -> Any:
        """Return the newest point of a counter under its name; with three arguments, by its path.

        Returns False if ``labels`` is not a list, as in ceph-mgr.
        """
        if sub_counter_name is None:
            return self.get_latest_unlabeled_counter(svc_type, svc_name, counter_name)
        if not isinstance(labels, list):
            return False
        return {
            counter_name: self._context.get_latest_labelled_counter(
                svc_type, svc_name, counter_name, sub_counter_name, labels
            )
        }

    def get_counter_latest(
        self, svc_type: str, svc_name: str, counter: str, sub_counter: str, labels: Labels
    ) -> Any:
        """Return the newest value of a counter with labels; 0 if there is none."""
        point = self._context.get_latest_labelled_counter(
            svc_type, svc_name, counter, sub_counter, labels
        )
        return _value(point)

    def get_counter_latest_avg(
        self, svc_type: str, svc_name: str, counter: str, sub_counter: str, labels: Labels
    ) -> Average:
        """Return the newest sum and count of a counter with labels; zeros if there is none."""
        point = self._context.get_latest_labelled_counter(
            svc_type, svc_name, counter, sub_counter, labels
        )
        return _average(point)

    def get_perf_counters(
        self, prio_limit: int = PRIO_USEFUL, services: Sequence[str] = SERVICES
    ) -> dict[str, dict[str, Any]]:
        """Return every counter with labels, by daemon and key.

        Counters of less than ``prio_limit`` are included without a value, as in ceph-mgr.
        """
        found: dict[str, dict[str, Any]] = defaultdict(dict)
        for kind, name in self._daemons(services):
            schemas = self._context.get_perf_schema(kind, name, labelled=True)
            for key, families in schemas.get(f"{kind}.{name}", {}).items():
                found[f"{kind}.{name}"][key] = [
                    self._family(kind, name, key, family, prio_limit) for family in families
                ]
        return found

    def _family(self, kind: str, name: str, key: str, family: Any, prio_limit: int) -> Any:
        labels = list(family["labels"].items())
        counters = {
            sub: self._valued(
                schema,
                self._context.get_latest_labelled_counter(kind, name, key, sub, labels),
            )
            if schema["priority"] >= prio_limit
            else dict(schema)
            for sub, schema in family["counters"].items()
        }
        return {"labels": family["labels"], "counters": counters}

    # -- all at once: ours, not ceph-mgr's --------------------------------------------------

    def get_counter_rows(self, svc_type: str = "", prio_limit: int = 0) -> list[dict[str, Any]]:
        """Return the newest values of all daemons of a type (default: all) as rows of numbers.

        Silent daemons are left out, because their last values are out of date. All daemons with
        the same counters share one entry: ``{"counters", "rows", "before"}``. ``rows`` contains,
        by daemon, the time of its report followed by its values; ``before`` contains the same of
        the report before that, for daemons that reported twice. ``counters`` describes the values:
        ``path``, ``kind`` (``gauge``, ``counter``, ``average``, ``histogram``), ``description``,
        ``unit`` (``bytes``, ``seconds`` or empty), ``priority``, ``labels``, ``bounds``, and the
        position ``row[start:stop]`` of one value; or of sum and count; or of each bucket's own
        count and then the sum. Read only: rows are shared, so that a million values are not copied.
        """
        return self._context.get_counter_rows(svc_type, prio_limit)

    # -- for exporters ----------------------------------------------------------------------

    def _stattype_to_str(self, stattype: int) -> str:
        match stattype & self.PERFCOUNTER_TYPE_MASK:
            case 0:
                return "gauge"
            case self.PERFCOUNTER_LONGRUNAVG | self.PERFCOUNTER_COUNTER:
                return "counter"
            case self.PERFCOUNTER_HISTOGRAM:
                return "histogram"
            case _:
                return ""

    def _perfpath_to_path_labels(
        self, daemon: str, path: str
    ) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        names: tuple[str, ...] = ("ceph_daemon",)
        if daemon.startswith("rgw."):
            names, daemon = ("instance_id",), daemon.removeprefix("rgw.")
        labels: tuple[str, ...] = (daemon,)
        image = MIRRORED_IMAGE.fullmatch(path) if daemon.startswith("rbd-mirror.") else None
        if image:
            names += ("pool", "namespace", "image")
            labels += (image[1], image[2] or "", image[3])
            path = f"rbd_mirror_image_{image[4]}"
        return path, names, labels

    def _perfvalue_to_value(self, stattype: int, value: float) -> float:
        return value / NANOSECONDS if stattype & self.PERFCOUNTER_TIME else value

    def _unit_to_str(self, unit: int) -> str:
        if unit not in {self.NONE, self.BYTES}:
            raise ValueError(f'bad unit "{unit}"')
        return "/s" if unit == self.NONE else "B/s"

    # -- inside -----------------------------------------------------------------------------

    def _daemons(self, services: Sequence[str]) -> Iterator[tuple[str, str]]:
        for server in self._context.get_servers():
            for service in server["services"]:
                if service["type"] in services:
                    yield service["type"], service["id"]

    def _valued(self, schema: dict[str, Any], point: Sequence[Any]) -> dict[str, Any]:
        if schema["type"] & self.PERFCOUNTER_LONGRUNAVG:
            total, count = _average(point)
            return {**schema, "value": total, "count": count}
        return {**schema, "value": _value(point)}


def _value(point: Sequence[Any]) -> Any:
    return point[1] if point else 0


def _average(point: Sequence[Any]) -> Average:
    return (point[1], point[2]) if point else (0, 0.0)
