"""May this worker answer as the active, now? Two numbers compared."""

from __future__ import annotations

import asyncio
from typing import Final

from mgr.clock import Clock

NEVER: Final = float("-inf")


class Gate:
    """Open while the clock has not reached the deadline that the guard proved last.

    It shuts by the clock, not by a message: a process that was frozen for a minute finds it
    shut when it wakes, before it has read a single line from its guard. Past the deadline the
    office is not lost, only unproven: another ``extend`` of the same term opens it again.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin shut, in no term."""
        self._clock = clock
        self._deadline_s = NEVER
        self._shut = False
        self._changed = asyncio.Event()
        self.term = 0

    @property
    def deadline_s(self) -> float:
        """The moment it shuts by itself, on the clock it was made with."""
        return NEVER if self._shut else self._deadline_s

    def may_serve(self) -> bool:
        """Whether this worker may answer as the active at this instant."""
        return self._clock.now() < self.deadline_s

    def extend(self, term: int, deadline_s: float) -> None:
        """Open until ``deadline_s``: the guard proved ``term``. An older term changes nothing."""
        if term < self.term:
            return
        self.term = term
        self._deadline_s = max(self._deadline_s, deadline_s)
        self._announce()

    def shut(self) -> None:
        """Shut for good: the office is given up or lost. No ``extend`` opens it again."""
        self._shut = True
        self._announce()

    @property
    def is_shut(self) -> bool:
        """Whether it was shut for good."""
        return self._shut

    async def changed(self) -> None:
        """Wait until ``extend`` or ``shut`` is called. Passing the deadline is no change."""
        await self._changed.wait()

    async def opened(self, *, timeout_s: float) -> bool:
        """Wait until it is open, at most ``timeout_s``; whether it is. At once if shut for good."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self.may_serve() and not self._shut:
                    await self._changed.wait()
        except TimeoutError:
            return self.may_serve()
        return self.may_serve()

    def _announce(self) -> None:
        # A fresh event each time: every waiter of the old one wakes, whoever comes later waits
        # for the next change.
        before, self._changed = self._changed, asyncio.Event()
        before.set()
