"""Crash reports of this manager's modules, on their way to the ``crash`` module."""

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
"""Reports on their way; more of them at once say nothing more."""
REPEAT_AFTER_S: Final = 3600.0
"""The same fault is reported this often. A module that fails for a year fills no store."""
POST_S: Final = 5.0
MODULE: Final = "crash"

log = logging.getLogger(__name__)


class CrashReporter:
    """Posts reports, one after the other; a fault that repeats itself once an hour."""

    def __init__(self, manager: WorkerContext, fenced: FencedStore, execute: Execute) -> None:
        """Post with ``execute``, as a client would; where that fails, store with ``fenced``."""
        self._manager = manager
        self._fenced = fenced
        self._execute = execute
        self._waiting: asyncio.Queue[Crash] = asyncio.Queue(WAITING_MAX)
        self._reported_at: dict[tuple[str, ...], float] = {}

    def report(self, crash: Crash) -> None:
        """Report ``crash``, soon. On the loop; waits for nothing."""
        now_s = self._manager.clock.now()
        recent = {each: at for each, at in self._reported_at.items() if now_s - at < REPEAT_AFTER_S}
        self._reported_at = recent
        if crash.fingerprint in recent or self._waiting.full():
            return
        recent[crash.fingerprint] = now_s
        self._waiting.put_nowait(crash)

    async def run(self) -> None:
        """Post what is noted, for as long as the term. Run it as a task."""
        while True:
            crash = await self._waiting.get()
            report = crash.report(f"mgr.{self._manager.id}", installed_version())
            try:
                await self._post(crash.id, json.dumps(report))
            except MgrError as error:
                fields = {"module_name": crash.module, "error": str(error)}
                log.warning("crash report lost", extra=fields)

    async def _post(self, name: str, report: str) -> None:
        # By its command, not into its store: another module of this name may keep in memory what
        # it has stored, and would not see an entry made behind its back.
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
