"""How the guard's loops wait: until they are woken, and never for ever."""

from __future__ import annotations

import asyncio
import contextlib


async def wait(event: asyncio.Event, limit_s: float) -> None:
    """Wait until ``event`` is set, at most ``limit_s``. Either way it is time to look."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await event.wait()
