"""Health checks and progress events: what operators see of services and hosts. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from .reconciler import Host, HostState
from .records import ServiceRecord
from .steps import Plan

DETAIL_MAX: Final = 50


def checks(
    services: Mapping[str, ServiceRecord],
    plans: Mapping[str, Plan],
    hosts: Collection[Host],
    strays: Mapping[str, list[str]],
    paused: bool,  # noqa: FBT001 - as it is shown
) -> dict[str, dict[str, Any]]:
    """Return the health checks by code."""
    found: dict[str, dict[str, Any]] = {}

    def add(code: str, severity: str, summary: str, detail: list[str]) -> None:
        if detail:
            found[code] = {
                "severity": severity,
                "summary": summary.format(len(detail)),
                "count": len(detail),
                "detail": detail[:DETAIL_MAX],
            }

    stuck = [
        f"{name}: {record.reason}"
        + ("; generation " + str(record.target.generation) + " runs again" if back else "")
        for name, record in sorted(services.items())
        if record.phase in {"failed", "rolled_back"} and not record.removed
        for back in [record.phase == "rolled_back"]
    ]
    add("ORCH_UPDATE_FAILED", "error", "{} services could not be updated", stuck)
    failed = [
        f"{daemon}: {why}"
        for _, each in sorted(plans.items())
        for daemon, why in each.failed.items()
    ]
    add("ORCH_DAEMON_FAILED", "warning", "{} daemons have failed", failed)
    unplaced = [f"{name}: {why}" for name, each in sorted(plans.items()) if (why := each.short())]
    add("ORCH_UNPLACED", "warning", "{} services have too few hosts", unplaced)
    lost = sorted(host.name for host in hosts if host.state is HostState.LOST)
    add("ORCH_HOST_LOST", "warning", "{} hosts are lost", [f"{name} is lost" for name in lost])
    silent = sorted(h.name for h in hosts if h.late and h.state is HostState.UNKNOWN)
    silent = [f"{name} is silent" for name in silent]
    add("ORCH_HOSTS_SILENT", "error", "{} hosts are silent: so many at a time are not lost", silent)
    stray = [f"{host}: {name}" for host, names in strays.items() for name in names]
    add("ORCH_STRAY_DAEMON", "warning", "{} daemons belong to no service", stray)
    add("ORCH_PAUSED", "warning", "orders are paused", ["'orch resume' ends it"] if paused else [])
    return found


def stuck(error: Exception) -> dict[str, dict[str, Any]]:
    """Return the health check for a comparison that keeps failing with ``error``."""
    lines = str(error).splitlines() or [""]
    summary = "services are not brought to their hosts"
    detail = [f"{type(error).__name__}: {lines[0]}"]
    return {"ORCH_STUCK": {"severity": "error", "summary": summary, "count": 1, "detail": detail}}


def events(
    services: Mapping[str, ServiceRecord], plans: Mapping[str, Plan], hosts: Iterable[Host]
) -> dict[str, tuple[str, float]]:
    """Return the progress events by id: a text, and the share that is done."""
    found = {}
    for name, record in services.items():
        made = plans.get(name)
        if made is None or made.done:
            continue
        if record.removed:
            found[f"orch-{name}"] = f"Removing {name}", 0.0
        elif record.phase in {"updating", "rolled_back"}:
            verb = "Updating" if record.phase == "updating" else "Rolling back"
            size = len(made.slots) + made.unplaced
            text = f"{verb} {name} to generation {record.target.generation}"
            found[f"orch-{name}"] = text, made.ready / size if size else 1.0
    for host in hosts:
        if host.draining and host.state is HostState.READY and host.daemons:
            found[f"orch-drain-{host.name}"] = f"Draining {host.name}", 0.0
    return found
