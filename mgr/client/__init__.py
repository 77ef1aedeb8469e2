"""The Python client: finds the active manager, follows hints, retries what is safe.

``Client`` and ``AsyncClient`` run commands; ``Daemon`` and ``AsyncDaemon`` make a program a member
of the fleet; ``Tls`` holds certificates, and ``join`` gets one for a token. Each name is
imported at its first use, so a program loads only what it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mgr.client.async_client import AsyncClient
    from mgr.client.blocking import Client
    from mgr.client.daemon.daemon import AsyncDaemon, Daemon
    from mgr.client.daemon.reported_state import Device
    from mgr.client.join_cluster import join, join_blocking
    from mgr.tls import Tls

__all__ = [
    "AsyncClient",
    "AsyncDaemon",
    "Client",
    "Daemon",
    "Device",
    "Tls",
    "join",
    "join_blocking",
]

_DEFINED_IN: Final = {
    "AsyncClient": "mgr.client.async_client",
    "AsyncDaemon": "mgr.client.daemon.daemon",
    "Client": "mgr.client.blocking",
    "Daemon": "mgr.client.daemon.daemon",
    "Device": "mgr.client.daemon.reported_state",
    "Tls": "mgr.tls",
    "join": "mgr.client.join_cluster",
    "join_blocking": "mgr.client.join_cluster",
}


if not TYPE_CHECKING:  # to a type checker it would say that every misspelt name exists

    def __getattr__(name: str) -> Any:
        if name not in _DEFINED_IN:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_DEFINED_IN[name]), name)
