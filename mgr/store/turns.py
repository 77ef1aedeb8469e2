"""Which writes of one term touch the same keys, and which of them may still be done later.

Writes that touch the same keys are sent one after the other. One whose last attempt was never
answered is *unsettled*: the attempt may still reach the store. It stays here after its caller
has given up, until the key ``order`` has moved past the revision that the attempt compares.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from mgr.store.api import ABSENT, DeletePrefix, Operation, Revision

UNSETTLED_MAX: Final = 1000
"""Beyond, they are kept as one that touches every key: safe, and bounded."""
EVERY_KEY: Final = ("",)


@dataclass(slots=True, eq=False)
class Turn:
    """A write under way and what it touches.

    Attributes:
        name: The first key or prefix, for messages.
        over: Set when the write has ended, however it ended.
        compared: The revision of ``order`` that an attempt compares which was not answered.

    """

    name: str
    keys: frozenset[str]
    prefixes: tuple[str, ...]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    compared: Revision = ABSENT

    @classmethod
    def of(cls, operations: Sequence[Operation]) -> Self:
        """Return the turn of a write that does ``operations``."""
        keys = [op.key for op in operations if not isinstance(op, DeletePrefix)]
        return cls.on(keys, [op.prefix for op in operations if isinstance(op, DeletePrefix)])

    @classmethod
    def on(cls, keys: Sequence[str], prefixes: Sequence[str]) -> Self:
        """Return the turn of whoever touches ``keys``, and everything under ``prefixes``."""
        return cls(next(iter((*keys, *prefixes)), ""), frozenset(keys), tuple(prefixes))

    def collides(self, other: Turn) -> bool:
        """Whether both touch the same key, or may."""
        if not self.prefixes and not other.prefixes:
            return not self.keys.isdisjoint(other.keys)
        return (
            not self.keys.isdisjoint(other.keys)
            or any(key.startswith(self.prefixes) for key in (*other.keys, *other.prefixes))
            or any(key.startswith(other.prefixes) for key in (*self.keys, *self.prefixes))
        )


class Turns:
    """The writes of one ``FencedStore``: those under way, and those that are unsettled."""

    def __init__(self) -> None:
        self.running: list[Turn] = []
        self._unsettled: list[Turn] = []

    def begin(self, turn: Turn) -> list[Turn]:
        """Add ``turn``; return the earlier ones that it must wait for."""
        earlier = [other for other in self.running if other.collides(turn)]
        self.running.append(turn)
        return earlier

    def end(self, turn: Turn, unanswered: Revision | None) -> None:
        """Remove ``turn``; what it touches stays unsettled where an attempt was not answered.

        ``unanswered`` is the revision of ``order`` that this attempt compares.
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
        """Return what attempts compare that may still change what ``turn`` touches, or None."""
        compared = [other.compared for other in self._unsettled if other.collides(turn)]
        return max(compared, default=None)

    def settle_below(self, order: Revision) -> None:
        """Settle every write whose attempt compares less than ``order``, where the key is now."""
        self._unsettled = [other for other in self._unsettled if other.compared >= order]

    def settle(self, turn: Turn, compared: Revision) -> None:
        """Settle every write that touches what ``turn`` touches, up to ``compared``.

        ``order`` has moved past that, and not necessarily past what newer attempts compare.
        """
        self._unsettled = [
            other
            for other in self._unsettled
            if other.compared > compared or not other.collides(turn)
        ]
