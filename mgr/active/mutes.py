"""Mutes between board and store: what is stored is loaded, what fell on the board is written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from mgr.errors import StoreError, TermLostError
from mgr.health.board import Board
from mgr.health.mute import Mute, decode, encode
from mgr.store.api import Delete, Operation, Put
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror

WRITTEN_MAX: Final = 100
"""Mutes written in one transaction, which holds only so much."""

log = logging.getLogger(__name__)


class MuteKeeper:
    """Keeps the board's mutes and the store's the same."""

    def __init__(self, board: Board, mirror: Mirror, keys: Keys, fenced: FencedStore) -> None:
        """Load what is stored now."""
        self._board = board
        self._mirror = mirror
        self._keys = keys
        self._fenced = fenced
        self._fell = asyncio.Event()
        board.on_change(self._fell.set)
        self.load()

    def load(self, _changes: object = None) -> None:
        """Take what is stored as the truth."""
        prefix = self._keys.mutes
        stored: dict[str, Mute] = {}
        for key, record in self._mirror.under(prefix).items():
            if (mute := decode(record.value)) is not None:
                stored[key.removeprefix(prefix)] = mute
        self._board.load_mutes(stored)

    def follow(self) -> Callable[[], None]:
        """Load again at every change; returns what ends that."""
        return self._mirror.subscribe(self._keys.mutes, self.load)

    async def run(self) -> None:
        """Write what becomes of mutes by themselves, for as long as the term lasts."""
        while True:
            await self._fell.wait()
            self._fell.clear()
            operations = self._operations()
            if not operations:
                continue
            try:
                await self._fenced.commit(operations)
            except TermLostError:
                return
            except StoreError as error:
                # The board shows what is true meanwhile; its next change writes it.
                log.warning("mutes not written", extra={"error": str(error)})

    def _operations(self) -> Sequence[Operation]:
        operations: list[Operation] = []
        for code, mute in self._board.settlements().items():
            if len(operations) == WRITTEN_MAX:
                # The rest in the next transaction.
                self._fell.set()
                break
            key = self._keys.mute(code)
            record = self._mirror.get(key)
            if mute is None:
                operations.append(Delete(key))
            elif record is not None:
                # On the same lease: a mute with a time limit keeps it.
                operations.append(Put(key, encode(mute), record.lease))
        return operations
