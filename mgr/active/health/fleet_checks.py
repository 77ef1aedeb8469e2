"""Turns the health of the fleet (``mgr.cluster.fleet_health``) into health checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mgr.cluster.daemon import Metric
from mgr.cluster.fleet_health import FleetHealth
from mgr.health.check import Check, Severity

SILENT: Final = "MGR_DAEMON_SILENT"
DUPLICATE: Final = "MGR_DAEMON_DUPLICATE"
CLOCK: Final = "MGR_DAEMON_CLOCK"

NAMED_MAX: Final = 10
"""The most daemons named in a summary."""
DETAILS_MAX: Final = 100
"""The most lines of detail: a fleet may have ten thousand daemons."""


def fleet_checks(found: FleetHealth) -> list[Check]:
    """Return the checks to raise for the daemons; none if all are healthy."""
    checks = [
        _check_for(
            SILENT,
            [
                f"{name} on {host or 'an unknown host'} is silent"
                for name, host in found.silent.items()
            ],
            one="has not reported within its grace period",
            many="daemons have not reported within their grace period",
            names=found.silent,
        ),
        _check_for(
            DUPLICATE,
            [
                f"{name} was taken over from a program that was still connected"
                for name in found.duplicate_names
            ],
            one="is used by two programs",
            many="names of daemons are used by two programs each",
            names=found.duplicate_names,
        ),
        _check_for(
            CLOCK,
            # Rounded to seconds: every change of a check's text counts as a change of health.
            [f"the clock of {name} is {off_s:+.0f} s off" for name, off_s in found.clocks.items()],
            one="has a clock that is off",
            many="daemons have clocks that are off",
            names=found.clocks,
        ),
        *(_metric_check(code, metrics) for code, metrics in sorted(found.metrics.items())),
    ]
    return [check for check in checks if check is not None]


def _check_for(
    code: str, lines: Sequence[str], *, one: str, many: str, names: Iterable[str]
) -> Check | None:
    if not lines:
        return None
    only = len(lines) == 1
    return Check(
        code=code,
        severity=Severity.WARN,
        summary=f"{next(iter(names))} {one}" if only else f"{len(lines)} {many}",
        count=len(lines),
        detail=_cut(lines),
    )


def _metric_check(code: str, metrics: Sequence[tuple[str, Metric]]) -> Check:
    worst = max((metric for _, metric in metrics), key=lambda metric: metric.value)
    words = worst.summary or code.lower().replace("_", " ")
    total = sum(metric.value for _, metric in metrics)
    names = ",".join(name for name, _ in metrics[:NAMED_MAX])
    more = ",..." if len(metrics) > NAMED_MAX else ""
    return Check(
        code=code,
        severity=Severity.WARN,
        summary=f"{total} {words}, daemons [{names}{more}]",
        count=total,
        detail=_cut([f"{name}: {each.value} {each.summary or words}" for name, each in metrics]),
    )


def _cut(lines: Sequence[str]) -> tuple[str, ...]:
    if len(lines) <= DETAILS_MAX:
        return tuple(lines)
    return (*lines[:DETAILS_MAX], f"and {len(lines) - DETAILS_MAX} more")
