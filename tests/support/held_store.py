"""A store whose writes wait on their way until a test lets them go on."""

from __future__ import annotations

import asyncio

from mgr.store.api import Store

TURNS = 50


class HeldStore:
    """Any ``Store``; no write reaches it before ``open`` is set."""

    def __init__(self, inner: Store) -> None:
        self.open = asyncio.Event()
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def commit(self, *operations, **more):
        """See ``Store.commit``."""
        await self.open.wait()
        return await self._inner.commit(*operations, **more)


async def turn_the_loop() -> None:
    """Let everybody go on who can."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
