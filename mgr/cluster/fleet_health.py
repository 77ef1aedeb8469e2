"""What one sees who looks over a fleet: who is silent, whose clock is off, what adds up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mgr.cluster.daemon import Daemon, DaemonState, Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetHealth:
    """What health is made of.

    Attributes:
        silent: Who is, by name: the host.
        duplicate_names: Whose name two programs had.
        clocks: Whose clock is off, by name: by how many seconds.
        metrics: By code, each daemon that reports it above zero.

    """

    silent: Mapping[str, str] = field(default_factory=dict)
    duplicate_names: tuple[str, ...] = ()
    clocks: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, tuple[tuple[str, Metric], ...]] = field(default_factory=dict)


def fleet_health_of(daemons: Iterable[Daemon]) -> FleetHealth:
    """What there is to say of ``daemons``. A silent one's numbers are old, and left out."""
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
