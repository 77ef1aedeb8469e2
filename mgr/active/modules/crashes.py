"""Posts crash reports of this manager's modules to the ``crash`` module."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Final

from mgr.active.modules.background_commands import Execute
from mgr.command.dispatch import Request
from mgr.errors import MgrError
from mgr.host.crash import Crash
from mgr.host.worker_context import WorkerContext
from mgr.store.fenced import FencedStore
from mgr.version import installed_version

WAITING_MAX: Final = 32
"""The most reports that wait to be posted; further ones are dropped."""
REPEAT_AFTER_S: Final = 3600.0
"""Shortest time between two reports of the same fault, so that a fault that repeats for a year
does not fill the store."""
POST_S: Final = 5.0
MODULE: Final = "crash"

log = logging.getLogger(__name__)


class CrashReporter:
    """Posts crash reports one after the other; the same fault at most once an hour."""

    def __init__(self, manager: WorkerContext, fenced: FencedStore, execute: Execute) -> None:
        """Post with ``execute``, as a client would; if that fails, store with ``fenced``."""
        self._manager = manager
        self._fenced = fenced
        self._execute = execute
        self._waiting: asyncio.Queue[Crash] = asyncio.Queue(WAITING_MAX)
        self._reported_at: dict[tuple[str, ...], float] = {}

    def report(self, crash: Crash) -> None:
        """Queue ``crash`` to be posted. On the loop; does not wait."""
        now_s = self._manager.clock.now()
        recent = {each: at for each, at in self._reported_at.items() if now_s - at < REPEAT_AFTER_S}
        self._reported_at = recent
        if crash.fingerprint in recent or self._waiting.full():
            return
        recent[crash.fingerprint] = now_s
        self._waiting.put_nowait(crash)

    async def run(self) -> None:
        """Post queued reports, for as long as the term lasts."""
        while True:
            crash = await self._waiting.get()
            report = crash.report(f"mgr.{self._manager.id}", installed_version())
            try:
                await self.post(crash.id, json.dumps(report))
            except MgrError as error:
                fields = {"module_name": crash.module, "error": str(error)}
                log.warning("crash report lost", extra=fields)

    async def post(self, name: str, report: str) -> None:
        """Post ``report``, whose id is ``name``; a second time it changes nothing.

        Raises:
            MgrError: It is not stored.

        """
        # By the module's command, not into its store: a module may cache its stored entries in
        # memory, and would not see an entry that somebody else adds.
        request = Request(
            words=("crash", "post"),
            input=report.encode(),
            deadline_s=self._manager.clock.now() + POST_S,
        )
        try:
            answer = await self._execute(request)
        except MgrError as error:
            problem = str(error)
        else:
            if answer.retval == 0:
                return
            problem = answer.stderr
        log.info("crash report stored, not posted", extra={"error": problem})
        await self._fenced.put(self._manager.keys.module_entry(MODULE, f"crash/{name}"), report)
