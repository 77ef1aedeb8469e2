"""A feed that is read along, so that a test can look at all that has come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Self

from mgr.store.api import Changed, FeedEvent, Listed

WITHIN_S = 15.0


class Reader:
    """Use as ``async with Reader(store.follow(prefix)) as reader``."""

    def __init__(self, feed: AsyncGenerator[FeedEvent, None]) -> None:
        self.news: list[FeedEvent] = []
        self.ended = False
        self._feed = feed
        self._came = asyncio.Event()

    @property
    def known(self) -> dict[str, str]:
        """Key and value of everything, as the feed has told it."""
        known: dict[str, str] = {}
        for news in self.news:
            if isinstance(news, Listed):
                known = {record.key: record.value for record in news.records}
            elif isinstance(news, Changed):
                known |= {record.key: record.value for record in news.put}
                for key in news.deleted:
                    known.pop(key, None)
        return known

    def of(self, *kinds: type[FeedEvent]) -> list[FeedEvent]:
        """The news of these kinds, in order."""
        return [news for news in self.news if isinstance(news, kinds)]

    def count(self, *kinds: type[FeedEvent]) -> int:
        """How many news of these kinds came."""
        return len(self.of(*kinds))

    async def until(self, holds: Callable[[], bool], *, within_s: float = WITHIN_S) -> None:
        """Wait until ``holds`` is true after some news; the news are in the error if not."""
        try:
            async with asyncio.timeout(within_s):
                while not holds():
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise AssertionError(f"not within {within_s} s; came: {self.news[-20:]}") from None

    async def __aenter__(self) -> Self:
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._task = self._group.create_task(self._read())
        await self.until(lambda: bool(self.news))
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        await self._group.__aexit__(None, None, None)

    async def _read(self) -> None:
        try:
            async for news in self._feed:
                self.news.append(news)
                self._came.set()
            self.ended = True
            self._came.set()
        finally:
            await self._feed.aclose()
