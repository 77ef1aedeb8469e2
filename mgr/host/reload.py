"""Reading a module's files anew: by command on the active, and then on every standby.

The active leaves a record of each module that it reloaded. A worker that imported its modules
before that follows; so no failover brings old code back. Each host has files of its own: whether
they are the active's is told by their digest.
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

DIFFERENT_FILES: Final = "its files are not those that the active manager reloaded"

log = logging.getLogger(__name__)


async def reload_in_thread(settings: Settings, name: str) -> DiscoveredModule:
    """Import a module's files as they are now, within ``module_load_s``. Raises nothing.

    Where that fails, ``error`` says why, and what was imported stays as it was.
    """
    reading = run_in_thread(
        "reload-module", partial(reload_module, name, settings.module_path, settings.bundled_skip)
    )
    try:
        async with asyncio.timeout(settings.module_load_s):
            return await reading
    except TimeoutError:
        limit = f"{settings.module_load_s:g} s"
        return DiscoveredModule(name=name, place="", error=f"still being imported after {limit}")


class ReloadFollower:
    """What a worker that does not lead must still read anew."""

    def __init__(self, manager: WorkerContext, since: Revision) -> None:
        """Follow each reload after ``since``; what was imported must be no older than that."""
        self._manager = manager
        self._since = since
        self._followed_revisions: dict[str, Revision] = {}
        self._lock = asyncio.Lock()

    async def catch_up(self) -> dict[str, bool]:
        """Read anew what the active did meanwhile: for each module, whether its code is new now.

        Files that cannot be imported, or are other files than the active's, are reported in the
        catalogue (``outdated``) and not tried again before the next reload.
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
        found, known = await reload_in_thread(manager.settings, name), manager.catalogue.get(name)
        read = found.loaded
        if not read and known is not None:
            found = replace(known, outdated=found.error)
        elif read and found.digest != digest:
            found = replace(found, outdated=DIFFERENT_FILES)
        manager.register_module(found)
        fields = {"module_name": name}
        if why := found.outdated or found.error:
            log.error("reload not followed", extra=fields | {"error": why})
        else:
            log.info("module reloaded as the active did", extra=fields)
        return read
