"""Composes the messages of one stream: declarations of counters, their values, changed state.

Each stream has its own ``Reporter``, so that a new manager gets everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mgr.client.daemon.counters import Counters, Series
from mgr.client.daemon.reported_state import Device, HealthMetric, ReportedState
from mgr.report_limits import COUNTERS_MAX, VALUES_EACH
from mgr.rpc.v1 import cluster_pb2

KINDS: Final = {
    "gauge": cluster_pb2.COUNTER_KIND_GAUGE,
    "counter": cluster_pb2.COUNTER_KIND_COUNTER,
    "average": cluster_pb2.COUNTER_KIND_AVERAGE,
    "histogram": cluster_pb2.COUNTER_KIND_HISTOGRAM,
}
UNITS: Final = {
    "": cluster_pb2.COUNTER_UNIT_UNSPECIFIED,
    "bytes": cluster_pb2.COUNTER_UNIT_BYTES,
    "seconds": cluster_pb2.COUNTER_UNIT_SECONDS,
}
REMOVED_SHARE: Final = 8
"""All counters are declared again once more than one in so many is removed; until then the removed
ones are reported with their last value."""
REMOVED_REPORTS_MAX: Final = 12
"""All counters are declared again after so many reports with a removed one: a minute."""


class Reporter:
    """Composes the messages of one stream."""

    def __init__(self, counters: Counters, state: ReportedState) -> None:
        """Report ``counters`` and ``state``; both are read for each message."""
        self._counters = counters
        self._state = state
        self._declared: list[Series] = []
        self._known: set[Series] = set()
        self._lowest_priority = 0
        self._declare_all = True
        self._old_reports = 0
        self._sequence = 0
        # Versions begin at 0, so what is still empty is left out of the first report.
        self._sent_versions = {"status": 0, "task_status": 0, "metrics": 0, "devices": 0}

    def set_lowest_priority(self, lowest_priority: int) -> None:
        """Leave out counters of a lower priority from now on."""
        if lowest_priority != self._lowest_priority:
            self._lowest_priority = lowest_priority
            self._declare_all = True

    def declare(self) -> cluster_pb2.Declare | None:
        """Return what must be declared before the next report; None if nothing."""
        wanted = [
            each for each in self._counters.live() if each.spec.priority >= self._lowest_priority
        ]
        removed = len(self._declared) - len(self._known.intersection(wanted))
        self._old_reports = self._old_reports + 1 if removed else 0
        added = [each for each in wanted if each not in self._known]
        too_many = removed * REMOVED_SHARE > len(self._declared)
        # The manager counts removed ones until all are declared again: together with the new ones
        # they may be above its limit, though the remaining ones are not.
        too_many = too_many or bool(removed and added and _too_many([*self._declared, *added]))
        if self._declare_all or too_many or self._old_reports > REMOVED_REPORTS_MAX:
            nothing_declared = not self._declared and not wanted
            self._declared, self._known = wanted, set(wanted)
            self._declare_all, self._old_reports = False, 0
            return None if nothing_declared else _declaration(wanted, replace=True)
        self._declared += added
        self._known.update(added)
        return _declaration(added, replace=False) if added else None

    def report(self) -> cluster_pb2.Report:
        """Return the values of all declared counters, and the state changed since the last one."""
        self._sequence += 1
        report = cluster_pb2.Report(sequence=self._sequence)
        for series in self._declared:
            report.values.extend(series.read())
        state = self._state
        if self._is_changed("status", state.status.version):
            report.status.texts.update(state.status.copy())
            report.status.SetInParent()
        if self._is_changed("task_status", state.task_status.version):
            report.task_status.texts.update(state.task_status.copy())
            report.task_status.SetInParent()
        if self._is_changed("metrics", state.metrics_version):
            report.health_metrics.metrics.extend(map(_metric, state.metrics))
            report.health_metrics.SetInParent()
        if self._is_changed("devices", state.devices_version):
            report.devices.devices.extend(map(_device, state.devices))
            report.devices.SetInParent()
        return report

    def _is_changed(self, what: str, version: int) -> bool:
        # The caller reads the version before the data: a change in between is sent twice, never
        # lost.
        changed = version != self._sent_versions[what]
        self._sent_versions[what] = version
        return changed


def _too_many(series: Sequence[Series]) -> bool:
    width = sum(each.width for each in series)
    return len(series) > COUNTERS_MAX or width > VALUES_EACH * COUNTERS_MAX


def _declaration(series: Iterable[Series], *, replace: bool) -> cluster_pb2.Declare:
    """Declare ``series``, instead of all before it with ``replace``, else in addition."""
    return cluster_pb2.Declare(replace=replace, counters=[_counter(each) for each in series])


def _counter(series: Series) -> cluster_pb2.CounterDeclaration:
    spec = series.spec
    return cluster_pb2.CounterDeclaration(
        group=spec.group,
        name=spec.name,
        kind=KINDS[series.KIND],
        description=spec.description,
        nick=spec.nick,
        unit=UNITS[spec.unit],
        priority=spec.priority,
        labels=dict(spec.labels),
        bounds=spec.bounds,
    )


def _metric(metric: HealthMetric) -> cluster_pb2.HealthMetric:
    return cluster_pb2.HealthMetric(type=metric.type, value=metric.value, summary=metric.summary)


def _device(device: Device) -> cluster_pb2.Device:
    return cluster_pb2.Device(
        id=device.id,
        name=device.name,
        path=device.path,
        wear_level=device.wear_level,
        daemons=device.daemons,
    )
