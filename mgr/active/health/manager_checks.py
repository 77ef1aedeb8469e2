"""The manager's own checks, as functions of what it knows; in Ceph's words where it has any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mgr.health.check import Check, Severity

MODULE_ERROR: Final = "MGR_MODULE_ERROR"
MODULE_DEPENDENCY: Final = "MGR_MODULE_DEPENDENCY"
NO_STANDBY: Final = "MGR_NO_STANDBY"
MODULE_ABANDONED: Final = "MGR_MODULE_ABANDONED"
MODULE_OUTDATED: Final = "MGR_MODULE_OUTDATED"
OPTION_ERROR: Final = "MGR_OPTION_ERROR"
STORE_SILENT: Final = "MGR_STORE_SILENT"
ETCD_FOREIGN: Final = "MGR_ETCD_FOREIGN"


@dataclass(frozen=True, slots=True)
class ModuleState:
    """What the health of an enabled module is judged by.

    Attributes:
        name: The module.
        cannot_run: Why ``can_run`` said no; empty: it can run.
        error: Why it does not run although it could: it did not load, its constructor or its
            ``serve`` raised, it did not start in time. Empty: it runs, or is about to.

    """

    name: str
    cannot_run: str = ""
    error: str = ""


def module_checks(enabled: Iterable[ModuleState]) -> list[Check]:
    """The checks that the enabled modules' states give rise to; none if all are well."""
    states = sorted(enabled, key=lambda state: state.name)
    dependencies = [(state.name, state.cannot_run) for state in states if state.cannot_run]
    # A module that cannot run is reported once, as that: its error is the consequence.
    errors = [(state.name, state.error) for state in states if state.error and not state.cannot_run]
    found = []
    if dependencies:
        found.append(
            _check_for(
                MODULE_DEPENDENCY,
                Severity.WARN,
                dependencies,
                one="has failed dependency",
                many="mgr modules have failed dependencies",
            )
        )
    if errors:
        found.append(
            _check_for(
                MODULE_ERROR,
                Severity.ERR,
                errors,
                one="has failed",
                many="mgr modules have failed",
            )
        )
    return found


def abandoned_checks(instances: Iterable[str]) -> list[Check]:
    """A warning while instances of modules run that did not stop: which, and since when."""
    lines = tuple(
        f"{instance}, and may still act; the module is not started again beside it. "
        "`mgrctl mgr fail` hands over and starts a clean worker"
        for instance in instances
    )
    if not lines:
        return []
    many = f"{len(lines)} instances of modules did not stop, and may still act"
    return [
        Check(
            code=MODULE_ABANDONED,
            severity=Severity.WARN,
            summary=lines[0] if len(lines) == 1 else many,
            count=len(lines),
            detail=lines,
        )
    ]


def standby_checks(active: str, standbys: int) -> list[Check]:
    """A warning while nobody could follow the active manager."""
    if standbys:
        return []
    return [
        Check(
            code=NO_STANDBY,
            severity=Severity.WARN,
            summary="no standby mgr",
            detail=(f"mgr.{active} is active and no other manager would follow it",),
        )
    ]


def outdated_checks(modules: Iterable[tuple[str, str, str]]) -> list[Check]:
    """A warning while managers have other code than was reloaded: each manager, module and why."""
    lines = tuple(
        f"mgr.{manager} did not follow the reload of module '{name}': {why}"
        for manager, name, why in modules
    )
    if not lines:
        return []
    many = f"{len(lines)} reloads were not followed"
    return [
        Check(
            code=MODULE_OUTDATED,
            severity=Severity.WARN,
            summary=lines[0] if len(lines) == 1 else many,
            count=len(lines),
            detail=lines,
        )
    ]


def option_checks(invalid_values: Iterable[tuple[str, str]]) -> list[Check]:
    """A warning while stored values do not fit: for each, which one it is, and why not."""
    lines = tuple(f"{which}: {why}" for which, why in invalid_values)
    if not lines:
        return []
    many = f"{len(lines)} stored options do not fit their declarations"
    return [
        Check(
            code=OPTION_ERROR,
            severity=Severity.WARN,
            summary=f"Stored option does not fit: {lines[0]}" if len(lines) == 1 else many,
            count=len(lines),
            detail=lines,
        )
    ]


def store_checks(*, silent: bool, foreign: Mapping[str, int]) -> list[Check]:
    """Warnings while the store is silent, or endpoints in ``foreign`` belong to another one.

    ``foreign`` has the id of the cluster that each of them belongs to.
    """
    found = _foreign_checks(foreign)
    if silent:
        found.append(
            Check(
                code=STORE_SILENT,
                severity=Severity.WARN,
                summary="etcd is silent: what is shown may be old",
                # No number of seconds: the check would change every second.
                detail=("no etcd with a quorum was heard of; writes wait, and then fail",),
            )
        )
    return found


def _foreign_checks(endpoints: Mapping[str, int]) -> list[Check]:
    lines = tuple(
        f"etcd at {address} belongs to another cluster, {cluster_id:x}, and is not used"
        for address, cluster_id in sorted(endpoints.items())
    )
    if not lines:
        return []
    many = f"{len(lines)} etcd endpoints belong to another cluster"
    return [
        Check(
            code=ETCD_FOREIGN,
            severity=Severity.WARN,
            summary=lines[0] if len(lines) == 1 else many,
            count=len(lines),
            detail=lines,
        )
    ]


def _check_for(
    code: str, severity: Severity, failures: list[tuple[str, str]], *, one: str, many: str
) -> Check:
    lines = tuple(f"Module '{name}' {one}: {why}" for name, why in failures)
    summary = lines[0] if len(lines) == 1 else f"{len(lines)} {many}"
    return Check(code=code, severity=severity, summary=summary, count=len(lines), detail=lines)
