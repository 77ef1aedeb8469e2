"""Reports what a program counts with ``prometheus_client``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Final

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector as Registry
from prometheus_client.samples import Sample

from mgr.client.bridges.series import BridgedSeries, Metric
from mgr.client.daemon.counters import INTERESTING
from mgr.client.daemon.program import Program

CREATED: Final = "_created"
"""Suffix of samples that say since when something is counted."""
UNITS: Final = ("bytes", "seconds")


def report_registry(
    daemon: Program,
    registry: Registry = REGISTRY,
    *,
    group: str = "",
    priority: int = INTERESTING,
) -> None:
    """Report all metrics of ``registry`` as counters of ``daemon``, from now on.

    They are read for each report, on the thread that calls the functions of gauges. Counters are
    set to their totals, histograms keep their buckets, a summary is an average, all others are
    gauges. Without ``group`` the module ``prometheus`` exports each under the name that it has.

    A metric that cannot be reported is left out, which is logged once.
    """
    bridge = PrometheusBridge(daemon, registry, group=group, priority=priority)
    daemon.before_report(bridge.collect)


class PrometheusBridge:
    """Sets counters of a program to what a registry collects."""

    def __init__(self, program: Program, registry: Registry, *, group: str, priority: int) -> None:
        """Collect ``registry``, which may also be a single collector."""
        self._registry = registry
        self._series = BridgedSeries(program, group=group, priority=priority)

    def collect(self) -> None:
        """Collect once. Raises what a collector of the registry raises."""
        with self._series.collection():
            for family in self._registry.collect():
                self._set(family)

    def _set(self, family: Family) -> None:
        metric = Metric(family.name, family.documentation, _unit(family.name))
        match family.type:
            case "counter":
                for sample in _values(family):
                    self._series.counter(metric, sample.labels, sample.value)
            case "summary":
                for found in _distributions(family):
                    self._series.average(metric, found.labels, found.total, found.count)
            case "histogram":
                for found in _distributions(family):
                    self._series.histogram(metric, found.labels, found.own_buckets(), found.total)
            case "gaugehistogram":
                self._series.leave_out(family.name, "a gauge histogram has no counterpart here")
            case _:
                for sample in _values(family):
                    named = metric._replace(name=sample.name, unit=_unit(sample.name))
                    self._series.gauge(named, sample.labels, sample.value)


@dataclass(slots=True)
class _Distribution:
    """The samples of one series of a summary or a histogram."""

    labels: dict[str, str]
    total: float = 0.0
    count: float = 0.0
    cumulated: dict[float, float] = field(default_factory=dict)

    def own_buckets(self) -> list[tuple[float, float]]:
        """Return each bucket's upper bound and its own count, the infinite one last."""
        upto = sorted({inf: self.count, **self.cumulated}.items())
        return [upto[0], *((high, count - less) for (_, less), (high, count) in pairwise(upto))]


def _distributions(family: Family) -> Iterable[_Distribution]:
    found: dict[tuple[tuple[str, str], ...], _Distribution] = {}
    for sample in _values(family):
        labels = dict(sample.labels)
        bound = labels.pop("le", None)
        series = found.setdefault(tuple(sorted(labels.items())), _Distribution(labels))
        if bound is not None:
            series.cumulated[float(bound)] = sample.value
        elif sample.name.endswith("_sum"):
            series.total = sample.value
        elif sample.name.endswith("_count"):
            series.count = sample.value
    return found.values()


def _values(family: Family) -> Iterator[Sample]:
    created = f"{family.name}{CREATED}"
    return (sample for sample in family.samples if sample.name != created)


def _unit(name: str) -> str:
    return next((unit for unit in UNITS if name.endswith(f"_{unit}")), "")
