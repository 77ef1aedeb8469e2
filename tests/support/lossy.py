"""A store that loses requests and answers: one for each manager of a simulation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from enum import Enum, auto

from mgr.errors import OutcomeUnknownError, StoreUnavailableError
from mgr.store.api import FeedEvent, Interrupted, Store


class Lost(Enum):
    """What becomes of a call."""

    NOTHING = auto()
    REFUSED = auto()
    """The connection is refused: surely nothing was sent."""
    REQUEST = auto()
    """The store never hears of it, and the caller cannot know that."""
    ANSWER = auto()
    """The store does the work, and the caller never learns of it."""
    FROZEN = auto()
    """The request stays on its way until ``heal``: then it arrives, however late."""


READS = frozenset({"get", "list", "status"})


class LossyStore:
    """Any ``Store``; ``losing`` decides about every call.

    ``lose`` holds for everything that follows, feeds included: a cut feed sends
    ``Interrupted`` instead of its next event (within a second: ``Current`` is one), is silent
    until ``heal``, and then begins with ``Listed``. Closing closes only this wrapper.
    """

    def __init__(self, inner: Store) -> None:
        self.losing: Callable[[], Lost] = lambda: Lost.NOTHING
        self._inner = inner
        self._healthy = asyncio.Event()
        self._healthy.set()
        self._closed = False

    def lose(self, lost: Lost) -> None:
        """From now on lose ``lost`` of every call, and cut the feeds (mend them for NOTHING)."""
        self.losing = lambda: lost
        if lost is Lost.NOTHING:
            self._healthy.set()
        else:
            self._healthy.clear()

    def heal(self) -> None:
        """Lose nothing any more; frozen calls arrive now."""
        self.lose(Lost.NOTHING)

    def __getattr__(self, name):
        method = getattr(self._inner, name)

        async def call(*args, **kwargs):
            lost = self.losing()
            unclear = StoreUnavailableError if name in READS else OutcomeUnknownError
            if self._closed or lost is Lost.REFUSED:
                raise StoreUnavailableError(f"{name}: connection refused")
            if lost is Lost.REQUEST:
                raise unclear(f"{name}: request lost")
            if lost is Lost.FROZEN:
                await self._healthy.wait()
            answer = await method(*args, **kwargs)
            if lost is Lost.ANSWER:
                raise unclear(f"{name}: answer lost")
            return answer

        return call

    async def follow(self, prefix: str) -> AsyncGenerator[FeedEvent, None]:
        """Follow, as far as nothing is lost."""
        while not self._closed:
            await self._healthy.wait()
            async with contextlib.aclosing(self._inner.follow(prefix)) as feed:
                async for event in feed:
                    if self._closed or not self._healthy.is_set():
                        break
                    yield event
            yield Interrupted("the cable is cut")

    async def close(self) -> None:
        """Refuse further calls; feeds end with the next event."""
        self._closed = True
        self._healthy.set()
