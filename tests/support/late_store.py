"""A store whose answers get lost and whose requests arrive when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import Enum, auto

from mgr.errors import OutcomeUnknownError
from mgr.store.api import Modified, Put, Store

ORDER = "/order"


class Way(Enum):
    """What becomes of one transaction that writes."""

    ANSWERED = auto()
    LOST_BEFORE = auto()
    """The store never hears of it."""
    LOST_AFTER = auto()
    """The store does it; the answer is lost."""
    HELD = auto()
    """The sender hears nothing; it arrives when the test lets it."""
    LEFT = auto()
    """As HELD, and the sender is cancelled while it waits for the answer."""


class LateStore:
    """Any ``Store``; each transaction takes the next of ``ways``, then all are answered.

    ``held`` are the requests on their way, oldest first: call one to let it arrive. ``arrivals``
    maps the number of a transaction, from 0, to how many of those held arrive just before it.
    """

    def __init__(self, inner: Store, ways: Iterable[Way] = ()) -> None:
        self.ways = list(ways)
        self.held = []
        self.arrivals: dict[int, int] = {}
        self.sent = 0
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def commit(self, operations, *, when=(), timeout_s=None, **reads):
        """See ``Store.commit``."""
        for _ in range(self.arrivals.get(self.sent, 0)):
            await self.arrive()
        self.sent += 1
        way = self.ways.pop(0) if self.ways else Way.ANSWERED

        async def request():
            return await self._inner.commit(operations, when=when, timeout_s=timeout_s, **reads)

        if way in {Way.HELD, Way.LEFT}:
            self.held.append(request)
        if way is Way.LEFT:
            asyncio.current_task().cancel()
            await asyncio.sleep(0)
        answer = await request() if way in {Way.ANSWERED, Way.LOST_AFTER} else None
        if answer is None or way is Way.LOST_AFTER:
            raise OutcomeUnknownError("no answer")
        return answer

    async def arrive(self) -> None:
        """Let the oldest of the held requests arrive, if there is one."""
        if self.held:
            await self.held.pop(0)()


class Unordered:
    """A store with which writes do not compare ``order``: a broken build."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def commit(self, operations, *, when=(), **more):
        """Commit without comparing the key ``order``, except where it is written itself."""
        if not any(isinstance(op, Put) and op.key.endswith(ORDER) for op in operations):
            when = [c for c in when if not (isinstance(c, Modified) and c.key.endswith(ORDER))]
        return await self._inner.commit(operations, when=when, **more)
