"""Mutes between board and store: what is stored is loaded, what fell on the board is written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from mgr.errors import ConflictError, StoreError, TermLostError
from mgr.health.board import Board
from mgr.health.mute import Mute, decode, encode
from mgr.store.api import Compare, Delete, Modified, Put
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.mirror import KeyChange, Mirror

log = logging.getLogger(__name__)


class MuteStore:
    """Keeps the board's mutes and the store's the same."""

    def __init__(self, board: Board, mirror: Mirror, keys: Keys, fenced: FencedStore) -> None:
        """Load what is stored now."""
        self._board = board
        self._mirror = mirror
        self._keys = keys
        self._fenced = fenced
        self._changed = asyncio.Event()
        board.on_change(self._changed.set)
        self.load()

    def load(self, changes: Sequence[KeyChange] = ()) -> None:
        """Take what is stored as the truth; ``changes`` are what is new of it."""
        prefix = self._keys.mutes
        stored: dict[str, Mute] = {}
        for key, record in self._mirror.list(prefix).items():
            if (mute := decode(record.value)) is not None:
                stored[key.removeprefix(prefix)] = mute
        self._board.load_mutes(stored, {change.key.removeprefix(prefix) for change in changes})
        # A write that was refused is computed again from what is stored now.
        self._changed.set()

    def follow(self) -> None:
        """Load the mutes again whenever a stored one changes, from now on."""
        self._mirror.subscribe(self._keys.mutes, self.load)

    async def run(self) -> None:
        """Write what becomes of mutes by themselves, for as long as the term lasts."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                for operation, seen in self._pending_writes():
                    await self._write(operation, seen)
            except TermLostError:
                return
            except StoreError as error:
                # The board shows what is true meanwhile; its next change writes it.
                log.warning("mutes not written", extra={"error": str(error)})

    async def _write(self, operation: Put | Delete, seen: Compare) -> None:
        """Write one mute, unless its record is another one by the time the write has its turn."""
        try:
            await self._fenced.commit((operation,), (seen,))
        except ConflictError:
            # Somebody wrote it, or its lease ended. ``load`` is called with that as soon as the
            # mirror shows it, if it was not called already, and what is right then is written.
            log.debug("a mute changed meanwhile", extra={"key": operation.key})

    def _pending_writes(self) -> Sequence[tuple[Put | Delete, Compare]]:
        found: list[tuple[Put | Delete, Compare]] = []
        for code, mute in self._board.mute_updates().items():
            key = self._keys.mute(code)
            record = self._mirror.get(key)
            if record is None:
                continue
            # On the same lease: a mute with a time limit keeps it.
            operation = Delete(key) if mute is None else Put(key, encode(mute), record.lease)
            found.append((operation, Modified(key, record.mod_revision)))
        return found
