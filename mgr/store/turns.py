"""Orders the writes of one term that touch the same keys, and records unanswered attempts.

Writes that touch the same keys are sent one after the other. A write whose last attempt was never
answered is *unsettled*: the attempt may still reach the store. It stays recorded here after its
caller has given up, until the key ``order`` has a newer revision than the attempt compares.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from mgr.store.api import ABSENT, DeletePrefix, Operation, Revision

UNSETTLED_MAX: Final = 1000
"""Most unsettled writes. Above it they are merged into one that touches every key."""
EVERY_KEY: Final = ("",)


@dataclass(slots=True, eq=False)
class Turn:
    """A running write (or settled read), with the keys that it touches.

    Attributes:
        name: The first key or prefix, for messages.
        over: Set when the write has ended, however it ended.
        compared: The revision of ``order`` that the unanswered attempt compares.

    """

    name: str
    keys: frozenset[str]
    prefixes: tuple[str, ...]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    compared: Revision = ABSENT

    @classmethod
    def of(cls, operations: Sequence[Operation]) -> Self:
        """Return the turn for a write of ``operations``."""
        keys = [op.key for op in operations if not isinstance(op, DeletePrefix)]
        return cls.on(keys, [op.prefix for op in operations if isinstance(op, DeletePrefix)])

    @classmethod
    def on(cls, keys: Sequence[str], prefixes: Sequence[str]) -> Self:
        """Return the turn that touches ``keys`` and all keys under ``prefixes``."""
        return cls(next(iter((*keys, *prefixes)), ""), frozenset(keys), tuple(prefixes))

    def collides(self, other: Turn) -> bool:
        """Return whether both touch, or may touch, the same key."""
        if not self.prefixes and not other.prefixes:
            return not self.keys.isdisjoint(other.keys)
        return (
            not self.keys.isdisjoint(other.keys)
            or any(key.startswith(self.prefixes) for key in (*other.keys, *other.prefixes))
            or any(key.startswith(other.prefixes) for key in (*self.keys, *self.prefixes))
        )


class Turns:
    """The running and the unsettled writes of one ``FencedStore``."""

    def __init__(self) -> None:
        self.running: list[Turn] = []
        self._unsettled: list[Turn] = []

    def begin(self, turn: Turn) -> list[Turn]:
        """Add ``turn``; return the earlier ones that it must wait for."""
        earlier = [other for other in self.running if other.collides(turn)]
        self.running.append(turn)
        return earlier

    def end(self, turn: Turn, unanswered: Revision | None) -> None:
        """Remove ``turn`` from the running writes; record it as unsettled if ``unanswered``.

        ``unanswered`` is the revision of ``order`` that its unanswered attempt compares, or None.
        """
        self.running.remove(turn)
        if unanswered is not None:
            turn.compared = unanswered
            self._unsettled.append(turn)
            if len(self._unsettled) > UNSETTLED_MAX:
                newest = max(other.compared for other in self._unsettled)
                every = Turn(turn.name, frozenset(), EVERY_KEY, compared=newest)
                self._unsettled = [every]
        turn.over.set()

    def unsettled(self, turn: Turn) -> Revision | None:
        """Return the revision to settle before ``turn`` may go on; None if there is none.

        It is the newest revision of ``order`` compared by unsettled writes that collide with it.
        """
        compared = [other.compared for other in self._unsettled if other.collides(turn)]
        return max(compared, default=None)

    def settle_below(self, order: Revision) -> None:
        """Settle every write whose attempt compares an older revision than ``order`` has now."""
        self._unsettled = [other for other in self._unsettled if other.compared >= order]

    def settle(self, turn: Turn, compared: Revision) -> None:
        """Settle every write that collides with ``turn`` and compares ``compared`` or older.

        ``order`` is newer than ``compared``, but not necessarily than what newer attempts compare.
        """
        self._unsettled = [
            other
            for other in self._unsettled
            if other.compared > compared or not other.collides(turn)
        ]
