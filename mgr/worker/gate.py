"""May this worker answer as the active, now? Two numbers compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mgr.clock import Clock
from mgr.errors import NotActiveError, TermLostError
from mgr.host.cluster_view import LeaderView, redirect_error

NEVER: Final = float("-inf")


class Gate:
    """Open while the clock has not reached the deadline that the guard proved last.

    It shuts by the clock, not by a message: a process that was frozen for a minute finds it
    shut when it wakes, before it has read a single line from its guard. Past the deadline the
    office is not lost, only unproven: another ``extend`` of the same term opens it again.

    ``drain``, ``release`` and ``end`` are one-way: a worker that gives up its term never takes
    it back. Implements ``mgr.command.dispatch.Gate`` and ``mgr.rpc.gated.Gate``.
    """

    def __init__(self, clock: Clock, leader: Callable[[], LeaderView | None]) -> None:
        """Begin shut, in no term; ask ``leader`` whom to name in refusals."""
        self._clock = clock
        self._leader = leader
        self._deadline_s = NEVER
        self._draining = False
        self._released = False
        self._ended = ""
        self._listeners: list[Callable[[], None]] = []
        self._changed = asyncio.Event()
        self._term = 0

    @property
    def term(self) -> int:
        """The term that was proven last, 0 if none ever was."""
        return self._term

    @property
    def deadline_s(self) -> float:
        """The moment it shuts by itself."""
        return NEVER if self._ended else self._deadline_s

    @property
    def ended(self) -> bool:
        """Whether it is shut for good and a successor can be named as soon as one is known."""
        return bool(self._ended)

    @property
    def draining(self) -> bool:
        """Whether new commands are held back for good."""
        return self._draining

    def term_valid(self) -> bool:
        """Whether what ran may be answered at this instant."""
        return self._clock.now() < self.deadline_s

    def accepts(self) -> bool:
        """Whether a new command may begin at this instant."""
        return self.term_valid() and not self._draining

    def extend(self, term: int, deadline_s: float) -> None:
        """Open until ``deadline_s``: the guard proved ``term``. An older term changes nothing."""
        if term < self._term or self._released or self._ended:
            return
        self._term = term
        self._deadline_s = max(self._deadline_s, deadline_s)
        self._notify_listeners()

    def drain(self) -> None:
        """Let no new command in; what runs may be answered while the term is proven."""
        self._draining = True
        self._notify_listeners()

    def release(self) -> None:
        """Shut now, because the leader key is about to be given back.

        From its deletion on a successor may answer, so nothing is answered here any more. Whoever
        waits goes on waiting until ``end``, when the successor can be named.
        """
        self._draining = True
        self._released = True
        self._deadline_s = min(self._deadline_s, self._clock.now())
        self._notify_listeners()

    def claims(self, term: int) -> bool:
        """Whether this worker may be named as the active of ``term``.

        False while its own term is not proven. Terms of others are not judged.
        """
        return term != self._term or self.term_valid()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each ``extend``, ``drain``, ``release`` and ``end``."""
        self._listeners.append(listener)

    def end(self, why: str) -> None:
        """Shut for good: the office is given back or lost. Whoever waits is refused."""
        self._draining = True
        self._ended = self._ended or why
        self._notify_listeners()

    async def wait_accepting(self, *, until_s: float) -> None:
        """Return as soon as it admits.

        Raises:
            NotActiveError: It will not, or not before the moment ``until_s``.

        """
        while not self.accepts():
            if self._ended or not await self._wait_changed(until_s):
                raise self.refusal()

    async def wait_term_valid(self, *, until_s: float) -> None:
        """Return as soon as it holds.

        Raises:
            TermLostError: The term is over, or was not proven again before ``until_s``.

        """
        while not self.term_valid():
            if self._ended:
                raise TermLostError(self._ended)
            if not await self._wait_changed(until_s):
                raise TermLostError(f"term {self._term} could not be proven again in time")

    async def wait_answerable(self, *, until_s: float) -> None:
        """Return as soon as it holds: for a read, which may be asked again elsewhere.

        Raises:
            NotActiveError: The term is over, or was not proven again before ``until_s``. Names
                the successor if one is known.

        """
        try:
            await self.wait_term_valid(until_s=until_s)
        except TermLostError:
            raise self.refusal() from None

    async def wait_changed(self) -> None:
        """Wait for the next ``extend``, ``drain``, ``release`` or ``end``.

        Passing the deadline is none of them.
        """
        await self._changed.wait()

    def refusal(self) -> NotActiveError:
        """The error for a caller, naming whoever leads now if it is not this term."""
        leader = self._leader()
        if leader is None or leader.term == self._term:
            return NotActiveError(None)
        return redirect_error(leader)

    async def _wait_changed(self, until_s: float) -> bool:
        left_s = until_s - self._clock.now()
        if left_s <= 0:
            return False
        try:
            async with asyncio.timeout(left_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _notify_listeners(self) -> None:
        # A fresh event each time: every waiter of the old one wakes, whoever comes later waits
        # for the next change.
        before, self._changed = self._changed, asyncio.Event()
        before.set()
        for listener in self._listeners:
            listener()
