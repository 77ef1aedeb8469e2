"""Imports modules into this process, where they run in threads of it.

What a module declares is read in another process. It is imported here when it is enabled and runs
in threads: on a standby ahead of time, so that a failover does not wait for it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from mgr.config.enabled_modules import enabled_modules
from mgr.config.isolation import MODULE_ISOLATION, Isolation, isolation_of, readable_isolation
from mgr.host.bridge import Bridge
from mgr.host.execution import ModuleRaisedError
from mgr.host.finder import DiscoveredModule, always_on, load, load_in_thread
from mgr.host.worker_context import WorkerContext

REGISTER_S = 5.0
"""Limit for taking an imported module into the catalogue, on the loop."""

log = logging.getLogger(__name__)


def isolation(manager: WorkerContext, module: str) -> Isolation:
    """Return where ``module`` is to run when it is constructed next."""
    if manager.processes is None:
        return Isolation.THREAD
    found = manager.catalogue.get(module)
    if found is not None and (
        # Its libraries may contradict those of the manager, or its import changes what is shared.
        manager.processes.environment_of(module, found.place) or found.changes
    ):
        return Isolation.PROCESS
    chosen = str(manager.config.manager_option(MODULE_ISOLATION) or "")
    return isolation_of(module, readable_isolation(chosen))


async def import_enabled(manager: WorkerContext) -> None:
    """Import the enabled modules that run in threads and are not imported yet."""
    for name in enabled_modules(
        manager.mirror, manager.keys, always_on(manager.catalogue), manager.catalogue
    ):
        found = manager.catalogue.get(name)
        if found is None or not found.loaded or found.active is not None:
            continue
        if manager.quarantine_reason(name) or isolation(manager, name) is Isolation.PROCESS:
            continue
        imported = await load_in_thread(found.location, manager.settings.module_load_s)
        if imported.error and not imported.loaded:
            fields = {"module_name": name, "error": imported.error}
            log.warning("module cannot be used", extra=fields)
        manager.register_module(_as_known(imported, found))


def import_here(manager: WorkerContext, found: DiscoveredModule, bridge: Bridge) -> Any:
    """Return ``found`` with its classes, imported on this thread of the module if necessary.

    Raises:
        ModuleRaisedError: It cannot be imported.

    """
    known = manager.catalogue.get(found.name, found)
    if known.active is not None:
        return known
    imported = _as_known(load(known.location), known)
    if not imported.loaded:
        crash = next(iter(imported.crashes), None)
        raise ModuleRaisedError(imported.error, "\n".join(crash.backtrace) if crash else "", crash)

    async def register() -> None:
        manager.register_module(imported)

    bridge.to_loop(register(), timeout_s=REGISTER_S)
    return imported


def _as_known(imported: DiscoveredModule, known: DiscoveredModule) -> DiscoveredModule:
    return replace(
        imported,
        digest=known.digest,
        files=known.files,
        installed=known.installed,
        outdated=known.outdated,
        # As seen in a process of its own, where nothing else changes anything.
        changes=known.changes,
    )
