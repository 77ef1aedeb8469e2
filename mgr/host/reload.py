"""Reloads a module's files: by command on the active, and then on every standby.

The active writes a record of each module that it reloaded. A worker that imported its modules
before that reloads them too, so that no failover brings back old code. Each host has its own files:
their digest shows whether they are the same as the active's.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import Final

from mgr.host.bridge import run_in_thread
from mgr.host.finder import DiscoveredModule, reload_module
from mgr.host.worker_context import WorkerContext
from mgr.settings import Settings
from mgr.store.api import Revision

DIFFERENT_FILES: Final = "its files differ from those that the active manager reloaded"

log = logging.getLogger(__name__)


async def reload_in_thread(settings: Settings, name: str) -> DiscoveredModule:
    """Import a module's current files, within ``module_load_s``. Raises nothing.

    If that fails, ``error`` contains the reason, and the code imported before stays.
    """
    reloading = run_in_thread(
        "reload-module", partial(reload_module, name, settings.module_path, settings.bundled_skip)
    )
    try:
        async with asyncio.timeout(settings.module_load_s):
            return await reloading
    except TimeoutError:
        limit = f"{settings.module_load_s:g} s"
        return DiscoveredModule(name=name, place="", error=f"still being imported after {limit}")


class ReloadFollower:
    """Reloads, on a standby, the modules that the active has reloaded."""

    def __init__(self, manager: WorkerContext, since: Revision) -> None:
        """Follow each reload after ``since``. The modules must have been imported after that."""
        self._manager = manager
        self._since = since
        self._followed_revisions: dict[str, Revision] = {}
        self._lock = asyncio.Lock()

    async def catch_up(self) -> dict[str, bool]:
        """Reload what the active has reloaded; return for each module whether its code is new.

        If the files cannot be imported, or differ from the active's, the catalogue shows that
        (``outdated``), and they are not tried again before the next reload.
        """
        manager, done = self._manager, {}
        async with self._lock:
            for key, record in manager.mirror.list(manager.keys.reloads).items():
                name = key.removeprefix(manager.keys.reloads)
                if record.mod_revision > self._followed_revisions.get(name, self._since):
                    self._followed_revisions[name] = record.mod_revision
                    done[name] = await self._follow(name, record.value)
        return done

    async def _follow(self, name: str, digest: str) -> bool:
        manager = self._manager
        if manager.quarantine_reason(name):
            return False
        found, known = await reload_in_thread(manager.settings, name), manager.catalogue.get(name)
        reloaded = found.loaded
        if not reloaded and known is not None:
            found = replace(known, outdated=found.error)
        elif reloaded and found.digest != digest:
            found = replace(found, outdated=DIFFERENT_FILES)
        manager.register_module(found)
        fields = {"module_name": name}
        if why := found.outdated or found.error:
            log.error("standby did not reload the module", extra=fields | {"error": why})
        else:
            log.info("standby reloaded the module", extra=fields)
        return reloaded
