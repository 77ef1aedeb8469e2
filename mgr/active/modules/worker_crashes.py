"""Posts what guards stored of workers that died: each report once, under the id it came with.

A guard cannot post: no module runs in it, and the crash module runs on the active only.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from mgr.errors import MgrError, TermLostError
from mgr.host.worker_context import WorkerContext
from mgr.store.api import Record
from mgr.store.fenced import FencedStore

RETRY_S: Final = 5.0

log = logging.getLogger(__name__)


class WorkerCrashCollector:
    """Empties ``worker_crashes/`` into the crash module, for as long as the term lasts."""

    def __init__(
        self,
        manager: WorkerContext,
        fenced: FencedStore,
        post: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """Post with ``post``, which does nothing with a report that is there already."""
        self._manager = manager
        self._fenced = fenced
        self._post = post

    async def collect(self) -> None:
        """Post what is there, and what comes. Run it as a task."""
        manager, changed = self._manager, asyncio.Event()
        manager.mirror.subscribe(manager.keys.worker_crashes, lambda _: changed.set())
        while True:
            changed.clear()
            try:
                for record in manager.mirror.list(manager.keys.worker_crashes).values():
                    await self._post_one(record)
            except TermLostError:
                return
            except MgrError as error:
                log.warning("report of a worker not posted yet", extra={"error": str(error)})
                await asyncio.sleep(RETRY_S)
                continue
            await changed.wait()

    async def _post_one(self, record: Record) -> None:
        """Post one report; forgotten only when it is stored, and then the id keeps it single."""
        try:
            name = json.loads(record.value)["crash_id"]
        except (ValueError, TypeError, KeyError, RecursionError):
            log.warning("unreadable report of a worker", extra={"key": record.key})
        else:
            await self._post(str(name), record.value)
        await self._fenced.delete(record.key)
