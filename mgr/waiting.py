"""Wait with a time limit, and wake every waiting task at once."""

from __future__ import annotations

import asyncio
import contextlib
import math
from types import TracebackType


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


class SharedTimer:
    """Limits how long blocks of many tasks may take, by one timer of the event loop.

    ``asyncio.timeout`` makes and cancels a timer for each block. That is a twentieth of what a
    short command costs a manager, and nearly all end long before their limit. This timer is set to
    the earliest limit only, and stays when that block ends: it then finds the next one.
    """

    def __init__(self) -> None:
        self._limits: set[_Limit] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = math.inf

    def limit(self, seconds: float) -> _Limit:
        """Return a block that raises ``TimeoutError`` if the task is in it after ``seconds``."""
        return _Limit(self, seconds)

    def add(self, limit: _Limit) -> None:
        """Watch ``limit``."""
        self._limits.add(limit)
        if limit.at_s < self._due_s:
            self._set(limit.at_s)

    def discard(self, limit: _Limit) -> None:
        """Do not watch ``limit`` any more."""
        self._limits.discard(limit)

    def _set(self, due_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due_s = due_s
        self._timer = asyncio.get_running_loop().call_at(due_s, self._on_due)

    def _on_due(self) -> None:
        self._timer, self._due_s = None, math.inf
        now_s = asyncio.get_running_loop().time()
        for limit in [each for each in self._limits if each.at_s <= now_s]:
            self._limits.discard(limit)
            limit.end()
        if self._limits:
            self._set(min(each.at_s for each in self._limits))


class _Limit:
    """The block of ``SharedTimer.limit``."""

    __slots__ = ("_cancelling", "_ended", "_seconds", "_task", "_timer", "at_s")

    def __init__(self, timer: SharedTimer, seconds: float) -> None:
        self._timer = timer
        self._seconds = seconds
        self._ended = False
        self.at_s = math.inf

    def end(self) -> None:
        """End the block."""
        self._ended = True
        self._task.cancel()

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a time limit is one of a task")
        self._task = task
        self._cancelling = task.cancelling()
        self.at_s = asyncio.get_running_loop().time() + self._seconds
        self._timer.add(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self._timer.discard(self)
        # Somebody else may have cancelled the task as well: then it stays cancelled.
        if (
            self._ended
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error
