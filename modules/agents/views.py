"""What commands show of services, daemons, hosts and updates. Pure."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from mgr_orchestrator import (
    DaemonDescription,
    DaemonDescriptionStatus,
    HostSpec,
    InventoryHost,
    OrchestratorError,
    ServiceDescription,
    UpgradeStatusSpec,
)

from .observer import Report
from .reconciler import Host, HostState
from .records import ServiceRecord
from .specification import Specification
from .steps import Plan

_UNKNOWN: Final = DaemonDescriptionStatus.unknown
_STATUS: Final = {
    "ready": DaemonDescriptionStatus.running,
    "unready": DaemonDescriptionStatus.error,
    "failed": DaemonDescriptionStatus.error,
    "starting": DaemonDescriptionStatus.starting,
    "stopped": DaemonDescriptionStatus.stopped,
    "removing": DaemonDescriptionStatus.stopped,
}


def plain(spec: Specification) -> dict[str, Any]:
    """Return a specification as plain data."""
    found: dict[str, Any] = msgspec.to_builtins(spec)
    return found


def news(before: ServiceRecord, after: ServiceRecord | None) -> tuple[str, bool]:
    """Return what to tell of a change of a service, and whether it is bad."""
    if after is None:
        return f"service {before.name} is removed", False
    number = after.current.generation
    match after.phase:
        case "stable":
            return f"service {after.name} is at generation {number}", False
        case "rolled_back":
            back = after.target.generation
            text = f"service {after.name}: generation {number} failed, going back to {back}"
            return f"{text}: {after.reason}", True
        case "failed":
            return f"service {after.name}: generation {number} failed: {after.reason}", True
        case _:
            return f"service {after.name} goes to generation {number}", False


def service(record: ServiceRecord, made: Plan | None) -> ServiceDescription:
    """Return a service with the state of its daemons."""
    spec = record.target.spec
    state = "removing" if record.removed else "paused" if record.held else record.phase
    return ServiceDescription(
        service_name=record.name,
        kind=spec.kind,
        running=0 if made is None else made.ready,
        size=len(record.slots) + (0 if made is None else made.unplaced),
        state=state,
        detail=record.reason,
        revision=str(record.target.revision),
        placement=spec.placement.summary(),
        spec=plain(spec),
    )


def daemons(
    services: Mapping[str, ServiceRecord],
    hosts: Iterable[Host],
    report: Callable[[str], Report | None],
) -> list[DaemonDescription]:
    """Return what hosts report, and what is wanted and is not there, by name."""
    found: dict[str, DaemonDescription] = {}
    for host in hosts:
        last = report(host.name)
        for name, each in host.daemons.items():
            silent = host.state is not HostState.READY
            status = _UNKNOWN if silent else _STATUS.get(each.state, _UNKNOWN)
            known = services.get(each.service)
            found[name] = DaemonDescription(
                daemon_type=each.service,
                daemon_id=name.removeprefix(f"{each.service}."),
                hostname=host.name,
                service_name=each.service,
                status=status,
                status_desc="host is silent" if silent else each.state,
                version=each.revision,
                container_image_name="" if known is None else known.target.spec.image,
                ports=[] if known is None else list(known.target.spec.ports),
                restarts=0 if last is None else last.restarts.get(name, 0),
                detail=each.detail,
            )
    for name, record in services.items():
        for slot in record.slots:
            found.setdefault(
                slot.daemon(name),
                DaemonDescription(
                    daemon_type=name,
                    daemon_id=f"{slot.host}-{slot.number}",
                    hostname=slot.host,
                    service_name=name,
                    status_desc="not there",
                ),
            )
    return [found[name] for name in sorted(found)]


def host(name: str, record: Any, found: Host | None) -> HostSpec:
    """Return a host with its state."""
    words = [] if found is None or found.state is HostState.READY else [found.state.value]
    if not record.joined:
        words = ["takes no orders"]
    if record.draining:
        words.append("draining")
    return HostSpec(name, record.address, list(record.labels), ", ".join(words))


def short_without(
    name: str, services: Mapping[str, ServiceRecord], plans: Mapping[str, Plan]
) -> list[str]:
    """Return the services that have too few ready daemons while the host ``name`` is down."""
    short = []
    for service_name, record in sorted(services.items()):
        here = sum(slot.host == name for slot in record.slots)
        made = plans.get(service_name)
        if here and made is not None:
            down = len(made.slots) + made.unplaced - made.ready + here
            if down > record.target.spec.max_unavailable:
                short.append(service_name)
    return short


def inventory(
    devices: Sequence[Mapping[str, Any]], wanted: Sequence[str] | None
) -> list[InventoryHost]:
    """Return the devices of the document ``devices`` by host."""
    found: dict[str, InventoryHost] = {}
    for device in devices:
        for place in device.get("location", ()):
            name = place.get("host", "")
            if wanted is None or name in wanted:
                entry = {
                    "device_id": device.get("devid", ""),
                    "name": place.get("dev", ""),
                    "path": place.get("path", ""),
                    "daemons": list(device.get("daemons", ())),
                }
                found.setdefault(name, InventoryHost(name)).devices.append(entry)
    return [found[name] for name in sorted(found)]


# -- updates ----------------------------------------------------------------------------------


def repository(image: str) -> str:
    """Return an image's name without its tag or digest."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def to_upgrade(
    services: Mapping[str, ServiceRecord], image: str, chosen: Sequence[str] | None
) -> dict[str, Specification]:
    """Return the specifications with ``image``: of ``chosen``, or of all with its repository."""
    found = {}
    if absent := sorted(set(chosen or ()) - services.keys()):
        raise OrchestratorError(f"there is no service {absent[0]!r}: see orch ls", -errno.ENOENT)
    for name, record in sorted(services.items()):
        spec = record.target.spec
        if record.removed or (chosen is not None and name not in chosen):
            continue
        if spec.kind != "container":
            if chosen is not None:
                raise OrchestratorError(f"{name} runs no container: use orch apply")
            continue
        if chosen is not None or repository(spec.image) == repository(image):
            found[name] = msgspec.structs.replace(spec, image=image)
    return found


def upgrade(services: Mapping[str, ServiceRecord], plans: Mapping[str, Plan]) -> UpgradeStatusSpec:
    """Return how far the services are that change."""
    moving = {n: r for n, r in sorted(services.items()) if r.phase == "updating" and not r.removed}
    failed = [f"{n}: {r.reason}" for n, r in sorted(services.items()) if r.reason]
    size = sum(len(plans[name].slots) for name in moving if name in plans)
    ready = sum(plans[name].ready for name in moving if name in plans)
    images = sorted({record.current.spec.image for record in moving.values()} - {""})
    return UpgradeStatusSpec(
        in_progress=bool(moving),
        target_image=", ".join(images) or None,
        services_complete=sorted(n for n, r in services.items() if r.phase == "stable"),
        progress=f"{ready}/{size} daemons updated" if moving else None,
        message="; ".join(failed),
        is_paused=any(record.held for record in services.values()),
    )
