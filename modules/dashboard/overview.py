"""The overview: who leads and why, the managers, etcd, the fleet, and health."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from .page import PageRequest
from .reader import Reader, Sourced

STATES: Final = ("reporting", "awaited", "silent")
ETCD_S: Final = 5.0
"""Etcd's members are asked this often at most: each answer costs every member a request."""


def content(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``overview.html``."""
    reader, viewer = request.reader, request.viewer
    buttons = {"health mute", "health unmute", "mgr fail", "mgr history"}
    return {
        "status": reader.status(),
        "managers": managers(reader),
        "etcd": etcd_members(reader),
        "fleet": fleet_counts(reader),
        "health": health(reader),
        "may": viewer.permitted(buttons),
    }


def managers(reader: Reader) -> Sourced:
    """Return every manager with its role, addresses and age, the active first."""

    def read() -> Sourced:
        status = reader.status()
        active = status.value["mgrmap"]["active_name"] if status.known else ""
        found = [_manager(each, active) for each in reader.command("mgr metadata")]
        found.sort(key=lambda each: (each["role"] != "active", each["name"]))
        return Sourced(found, status.source, status.at, status.trouble)

    return reader.shared("managers", "presence keys in etcd", read)


def _manager(metadata: Mapping[str, Any], active: str) -> dict[str, Any]:
    is_active = metadata["name"] == active
    return {
        "name": metadata["name"],
        "role": "active" if is_active else "standby",
        "ready": is_active or bool(metadata["warm"]),
        "why": ""
        if is_active or metadata["warm"]
        else "its worker is starting, or cannot start: see its log",
        "grpc": metadata["addr"],
        "http": metadata["http_address"],
        "version": metadata["version"],
        "host": metadata["hostname"],
        "started_at": metadata["started_at"],
    }


def etcd_members(reader: Reader) -> Sourced:
    """Return every etcd endpoint as the active sees it."""
    return reader.shared(
        "etcd", "etcd, asked by the active", lambda: reader.command("etcd status"), for_s=ETCD_S
    )


def fleet_counts(reader: Reader) -> Sourced:
    """Return how many daemons and hosts there are, and how many daemons of each state."""

    def read() -> Sourced:
        daemons = reader.daemons()
        found = daemons.value or ()
        counts = Counter(each["state"] for each in found)
        value = {
            "daemons": len(found),
            "hosts": len({each["hostname"] for each in found}),
            "types": sorted(Counter(each["type"] for each in found).items()),
            "states": {state: counts[state] for state in STATES},
        }
        return Sourced(value, daemons.source, daemons.at, daemons.trouble)

    return reader.shared("fleet counts", "reports to the active", read)


def health(reader: Reader) -> Sourced:
    """Return health with every check and its details."""
    return reader.shared(
        "health",
        "checks of the active and its modules",
        lambda: reader.command("health", detail="detail"),
    )
