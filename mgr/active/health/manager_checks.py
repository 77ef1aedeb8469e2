"""Functions that return the manager's own health checks; texts are Ceph's where Ceph has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mgr.health.check import Check, Severity

MODULE_ERROR: Final = "MGR_MODULE_ERROR"
MODULE_DEPENDENCY: Final = "MGR_MODULE_DEPENDENCY"
NO_STANDBY: Final = "MGR_NO_STANDBY"
NOT_STANDBY: Final = "MGR_NOT_STANDBY"
MODULE_ABANDONED: Final = "MGR_MODULE_ABANDONED"
MODULE_OUTDATED: Final = "MGR_MODULE_OUTDATED"
OPTION_ERROR: Final = "MGR_OPTION_ERROR"
STORE_SILENT: Final = "MGR_STORE_SILENT"
ETCD_FOREIGN: Final = "MGR_ETCD_FOREIGN"
ETCD_ENDPOINT_DOWN: Final = "MGR_ETCD_ENDPOINT_DOWN"
STANDBY_MODULE_ERROR: Final = "MGR_STANDBY_MODULE_ERROR"
CLIENT_LIMIT: Final = "MGR_CLIENT_LIMIT"
STORE_SPACE: Final = "MGR_STORE_SPACE"


@dataclass(frozen=True, slots=True)
class ModuleState:
    """The state of an enabled module, as far as health depends on it.

    Attributes:
        name: The module.
        cannot_run: The reason that its ``can_run`` returned; empty if it can run.
        error: Why it does not run although it could: it did not load, its constructor or its
            ``serve`` raised, it did not start in time. Empty if it runs or is starting.

    """

    name: str
    cannot_run: str = ""
    error: str = ""


def module_checks(enabled: Iterable[ModuleState]) -> list[Check]:
    """Return the checks to raise for the enabled modules; none if all are healthy."""
    states = sorted(enabled, key=lambda state: state.name)
    dependencies = [(state.name, state.cannot_run) for state in states if state.cannot_run]
    # A module that cannot run is reported only as that: its error is a consequence.
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


def abandoned_checks(instances: Iterable[str], left: Iterable[str]) -> list[Check]:
    """Return a warning while something of stopped modules still runs: what, since when.

    ``instances`` did not stop; ``left`` describes the threads, processes and sockets that stopped
    modules left behind.
    """
    lines = tuple(
        f"{instance}, and may still act; the module is not started again beside it. "
        "`mgrctl mgr fail` hands over and starts a clean worker"
        for instance in instances
    )
    lines += tuple(
        f"{each}. They may still act; `mgrctl mgr fail` hands over and starts a clean worker"
        for each in left
    )
    if not lines:
        return []
    many = f"{len(lines)} modules left something running, which may still act"
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
    """Return a warning while no standby could take over from the active manager."""
    if standbys:
        return []
    return [
        Check(
            code=NO_STANDBY,
            severity=Severity.WARN,
            summary="no standby mgr",
            detail=(f"mgr.{active} is active and no other manager can take over",),
        )
    ]


def not_standby_checks(managers: Iterable[str]) -> list[Check]:
    """Return a warning while ``managers`` run and could not take over from the active."""
    lines = tuple(
        f"mgr.{name} runs and is no standby: its worker does not start, or it is not eligible; "
        "its log has the reason"
        for name in sorted(managers)
    )
    if not lines:
        return []
    many = f"{len(lines)} managers run and are no standbys"
    return [
        Check(
            code=NOT_STANDBY,
            severity=Severity.WARN,
            summary=lines[0] if len(lines) == 1 else many,
            count=len(lines),
            detail=lines,
        )
    ]


def standby_module_checks(failures: Iterable[tuple[str, str, str]]) -> list[Check]:
    """Return a warning while standby instances of modules fail.

    ``failures`` are manager, module and error.
    """
    lines = tuple(
        f"The standby instance of module '{name}' on mgr.{manager} has failed: {why}"
        for manager, name, why in failures
    )
    if not lines:
        return []
    return [
        Check(
            code=STANDBY_MODULE_ERROR,
            severity=Severity.WARN,
            summary=lines[0] if len(lines) == 1 else f"{len(lines)} standby instances have failed",
            count=len(lines),
            detail=lines,
        )
    ]


def outdated_checks(modules: Iterable[tuple[str, str, str]]) -> list[Check]:
    """Return a warning while managers run older code of a module than was reloaded.

    ``modules`` are manager, module and reason.
    """
    lines = tuple(
        f"mgr.{manager} did not reload module '{name}': {why}" for manager, name, why in modules
    )
    if not lines:
        return []
    many = f"{len(lines)} modules were not reloaded"
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
    """Return a warning while stored option values are invalid: which ones, and why."""
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
    """Return warnings while the store does not answer or endpoints belong to another cluster.

    ``foreign`` maps each such endpoint to the id of the cluster that it belongs to.
    """
    found = _foreign_checks(foreign)
    if silent:
        found.append(
            Check(
                code=STORE_SILENT,
                severity=Severity.WARN,
                summary="etcd does not answer: what is shown may be old",
                # No number of seconds: the check would change every second.
                detail=("no etcd endpoint with a quorum answers; writes wait, and then fail",),
            )
        )
    return found


def endpoint_checks(silent: Sequence[str]) -> list[Check]:
    """Return a warning while endpoints of etcd have not answered for long, by address."""
    lines = tuple(
        f"etcd at {address} has not answered for a minute or longer: start that member, or take "
        "its address out of the setting etcd of every manager"
        for address in silent
    )
    if not lines:
        return []
    one = f"etcd endpoint {silent[0]} does not answer"
    many = f"{len(lines)} etcd endpoints do not answer"
    return [
        Check(
            code=ETCD_ENDPOINT_DOWN,
            severity=Severity.WARN,
            summary=one if len(lines) == 1 else many,
            count=len(lines),
            detail=lines,
        )
    ]


def client_limit_checks(reached: Mapping[str, str]) -> list[Check]:
    """Return a warning while clients reach limits; maps each limit's name to the last caller."""
    lines = tuple(
        f"limit {limit} was reached, last by {caller or 'a client'}; the metric "
        "mgr_client_limit_reached counts how often"
        for limit, caller in sorted(reached.items())
    )
    if not lines:
        return []
    one = f"Clients were refused: limit {next(iter(reached))} was reached"
    return [
        Check(
            code=CLIENT_LIMIT,
            severity=Severity.WARN,
            summary=one if len(lines) == 1 else f"Clients were refused: {len(lines)} limits",
            count=len(lines),
            detail=lines,
        )
    ]


def space_checks(*, scarce: bool) -> list[Check]:
    """Return a warning while etcd is so full that data of clients may not grow."""
    if not scarce:
        return []
    why = (
        "more than 80 % of etcd's space is used: daemons, maps and entries may not grow, so that "
        "the managers can still write; remove data, compact and defragment etcd, or raise its quota"
    )
    return [
        Check(
            code=STORE_SPACE,
            severity=Severity.WARN,
            summary="etcd is nearly full: data of clients may not grow",
            detail=(why,),
        )
    ]


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
