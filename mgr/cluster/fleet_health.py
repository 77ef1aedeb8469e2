"""Health of the fleet: silent daemons, duplicate names, clocks that are off, health metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mgr.cluster.daemon import Daemon, DaemonState, Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetHealth:
    """Input of the health checks about the fleet.

    Attributes:
        silent: Host of each silent daemon, by name.
        duplicate_names: Names that two programs used.
        clocks: Seconds by which a daemon's clock is off, by name.
        metrics: By code, each daemon with a value above zero, and its metric.

    """

    silent: Mapping[str, str] = field(default_factory=dict)
    duplicate_names: tuple[str, ...] = ()
    clocks: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, tuple[tuple[str, Metric], ...]] = field(default_factory=dict)


def fleet_health_of(daemons: Iterable[Daemon]) -> FleetHealth:
    """Return the health of ``daemons``. Clock and metrics of silent ones are old and left out."""
    silent: dict[str, str] = {}
    clocks: dict[str, float] = {}
    duplicate_names: list[str] = []
    metrics: dict[str, list[tuple[str, Metric]]] = {}
    for daemon in daemons:
        if daemon.name_conflict_s is not None:
            duplicate_names.append(daemon.name)
        if daemon.state is DaemonState.SILENT:
            silent[daemon.name] = daemon.record.host
        if daemon.state is not DaemonState.REPORTING:
            continue
        if daemon.clock_is_off:
            clocks[daemon.name] = daemon.clock_off_s
        for metric in daemon.metrics:
            if metric.value:
                metrics.setdefault(metric.code, []).append((daemon.name, metric))
    return FleetHealth(
        silent=silent,
        duplicate_names=tuple(duplicate_names),
        clocks=clocks,
        metrics={code: tuple(found) for code, found in metrics.items()},
    )
