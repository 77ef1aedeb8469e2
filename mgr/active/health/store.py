"""Stores the health checks that modules raise, so that the next active can show them at once.

A module raises its checks when it next examines the cluster, which may be minutes after it was
constructed. Until then the new active shows the checks that the previous one stored: warnings do
not vanish and come back during a failover, and mutes do not expire (docs/adr/0018).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Final

from mgr.errors import InvalidArgumentError, StoreError, TermLostError
from mgr.health.board import Board
from mgr.health.raised_record import decode, encode
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror

WRITE_EVERY_S: Final = 5.0
"""Shortest time between two writes, however often modules change their checks."""
LAST_WRITE_S: Final = 0.5
"""Limit for the last write before a hand-over."""
GRACE_S: Final = 120.0
"""Restored checks of a module that has not raised any within this time are removed."""

log = logging.getLogger(__name__)


class HealthStore:
    """Stores the checks of modules and restores those that the last active stored."""

    def __init__(self, board: Board, mirror: Mirror, keys: Keys, fenced: FencedStore) -> None:
        """Store the checks on ``board``."""
        self._board = board
        self._mirror = mirror
        self._keys = keys
        self._fenced = fenced
        self._changed = asyncio.Event()
        self._closed = False

    def restore(self, modules: Iterable[str]) -> None:
        """Show the stored checks of ``modules``, which are those that run now."""
        record = self._mirror.get(self._keys.health)
        stored = decode(record.value) if record else {}
        for module in set(modules) & stored.keys():
            self._board.restore(module, stored[module])
        self._board.on_change(self._changed.set)
        # Write once even without a change: the record may hold checks of modules that no longer
        # run, and those were not restored.
        self._changed.set()

    async def run(self) -> None:
        """Store the checks whenever they change, for as long as the term lasts."""
        while not self._closed:
            await self._changed.wait()
            await self._write()
            await asyncio.sleep(WRITE_EVERY_S)

    async def expire_restored(self) -> None:
        """Remove the restored checks that were not raised again within ``GRACE_S``."""
        await asyncio.sleep(GRACE_S)
        self._board.expire_restored()

    async def close(self) -> None:
        """Store the last changes, then stop storing.

        Modules that stop clear their checks; that must not be stored for the successor.
        """
        if self._changed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WRITE_S):
                    await self._write()
        self._closed = True

    async def _write(self) -> None:
        self._changed.clear()
        key = self._keys.health
        try:
            # An earlier write may have timed out and still take effect: the mirror is not enough.
            record = (await self._fenced.read_settled((key,))).get(key)
            value = encode(self._board.checks_by_module())
            if not self._closed and (record is None or record.value != value):
                await self._fenced.put(key, value)
        except TermLostError:
            self._closed = True
        except InvalidArgumentError as error:
            # Most likely too large. The checks are shown all the same; only the next active
            # does not have them before its modules raise them.
            log.warning("health not stored", extra={"error": str(error)})
        except StoreError as error:
            log.warning("health not written, retrying", extra={"error": str(error)})
            self._changed.set()
