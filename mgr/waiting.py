"""Wait for an event with a time limit, and wake every waiting task at once."""

from __future__ import annotations

import asyncio
import contextlib


async def wait(event: asyncio.Event, limit_s: float) -> bool:
    """Wait until ``event`` is set, at most ``limit_s`` seconds; return whether it is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await event.wait()
    return event.is_set()


class Broadcast:
    """Something that happens repeatedly, and that any number of tasks may wait for.

    ``notify`` wakes every task that waits at that moment; a task that comes later waits for the
    next ``notify``. A plain ``asyncio.Event`` cannot do that: it has to be cleared, and a task
    that has not run since it was set would miss it.
    """

    def __init__(self) -> None:
        # Made when somebody asks for it: most notifications find nobody.
        self._next: asyncio.Event | None = None

    @property
    def next(self) -> asyncio.Event:
        """The event that the next ``notify`` sets.

        Take it before reading the state that may change, then wait for it: a change in between is
        not missed.
        """
        if self._next is None:
            self._next = asyncio.Event()
        return self._next

    def notify(self) -> None:
        """Wake every task that waits now."""
        notified, self._next = self._next, None
        if notified is not None:
            notified.set()

    async def wait(self) -> None:
        """Wait for the next ``notify``."""
        await self.next.wait()
