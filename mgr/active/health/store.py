"""Health across a failover: what modules raised is stored, and shown until they speak again.

A module raises its checks when it next looks, which may be minutes after it was constructed. Until
then its successor's board shows what the board before it showed: an operator who watches a
warning does not see it vanish and come back, and a mute does not fall (docs/adr/0018).
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
"""A module that changes its checks all the time costs one small write in this span."""
LAST_WRITE_S: Final = 0.5
"""For the last write before a hand-over."""
GRACE_S: Final = 120.0
"""A module that says nothing about its health for so long has nothing to say."""

log = logging.getLogger(__name__)


class HealthStore:
    """Stores what modules raise, and hands on what the last active stored."""

    def __init__(self, board: Board, mirror: Mirror, keys: Keys, fenced: FencedStore) -> None:
        """Keep what is raised on ``board``."""
        self._board = board
        self._mirror = mirror
        self._keys = keys
        self._fenced = fenced
        self._changed = asyncio.Event()
        self._closed = False

    def restore(self, modules: Iterable[str]) -> None:
        """Show what the last active stored of ``modules``, those that run now."""
        record = self._mirror.get(self._keys.health)
        stored = decode(record.value) if record else {}
        for module in set(modules) & stored.keys():
            self._board.restore(module, stored[module])
        self._board.on_change(self._changed.set)
        # What was inherited from nobody is to be forgotten.
        self._changed.set()

    async def run(self) -> None:
        """Store what is raised whenever that changes, for as long as the term lasts."""
        while not self._closed:
            await self._changed.wait()
            await self._write()
            await asyncio.sleep(WRITE_EVERY_S)

    async def expire_restored(self) -> None:
        """Take back what nobody raised again in time."""
        await asyncio.sleep(GRACE_S)
        self._board.expire_restored()

    async def close(self) -> None:
        """Store the last changes, then nothing more: modules that stop take their checks back."""
        if self._changed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WRITE_S):
                    await self._write()
        self._closed = True

    async def _write(self) -> None:
        self._changed.clear()
        key = self._keys.health
        try:
            # An earlier write may be under way without an answer.
            record = (await self._fenced.read_settled((key,))).get(key)
            value = encode(self._board.checks_by_module())
            if not self._closed and (record is None or record.value != value):
                await self._fenced.put(key, value)
        except TermLostError:
            self._closed = True
        except InvalidArgumentError as error:
            # Too much, most likely. It is shown all the same; a successor waits to be told.
            log.warning("health not stored", extra={"error": str(error)})
        except StoreError as error:
            log.warning("health not written", extra={"error": str(error)})
            self._changed.set()
