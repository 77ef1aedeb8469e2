"""Loads stored mutes onto the health board and writes those that changed or expired there."""

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
    """Synchronizes the board's mutes with the store's."""

    def __init__(self, board: Board, mirror: Mirror, keys: Keys, fenced: FencedStore) -> None:
        """Load the stored mutes onto ``board``."""
        self._board = board
        self._mirror = mirror
        self._keys = keys
        self._fenced = fenced
        self._changed = asyncio.Event()
        board.on_change(self._changed.set)
        self.load()

    def load(self, changes: Sequence[KeyChange] = ()) -> None:
        """Replace the board's mutes by the stored ones; ``changes`` are those just written."""
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
        """Write mutes that a change of health altered or ended, for as long as the term lasts."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                for operation, seen in self._pending_writes():
                    await self._write(operation, seen)
            except TermLostError:
                return
            except StoreError as error:
                # The board already shows the new state; its next change writes it.
                log.warning("mutes not written", extra={"error": str(error)})

    async def _write(self, operation: Put | Delete, seen: Compare) -> None:
        """Write one mute unless its record was changed since ``seen``."""
        try:
            await self._fenced.commit((operation,), (seen,))
        except ConflictError:
            # An operator wrote it, or its lease ended. ``load`` is called once the mirror shows
            # that, if it was not called already, and the write is computed again from there.
            log.debug("mute not written: its record was changed", extra={"key": operation.key})

    def _pending_writes(self) -> Sequence[tuple[Put | Delete, Compare]]:
        found: list[tuple[Put | Delete, Compare]] = []
        for code, mute in self._board.mute_updates().items():
            key = self._keys.mute(code)
            record = self._mirror.get(key)
            if record is None:
                continue
            # On the same lease: a mute with a time limit keeps its limit.
            operation = Delete(key) if mute is None else Put(key, encode(mute), record.lease)
            found.append((operation, Modified(key, record.mod_revision)))
        return found
