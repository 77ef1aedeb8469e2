"""The gate: it decides by comparing the clock with a deadline whether this worker may act."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mgr.clock import Clock
from mgr.errors import NotActiveError, TermLostError
from mgr.host.cluster_view import LeaderView, redirect_error
from mgr.waiting import Broadcast, wait

NEVER: Final = float("-inf")


class Gate:
    """Open until the deadline of the term, which the guard extends with each confirmation.

    It closes by the clock, not by a message: a process that was frozen for a minute finds it closed
    when it runs again, before it has read a single message from its guard. After the deadline the
    term is not lost, only unconfirmed: another ``extend`` of the same term opens the gate again.

    ``drain``, ``release`` and ``end`` are final: a worker that gives up its term never resumes it.
    Implements ``mgr.command.dispatch.CommandGate`` and ``mgr.rpc.gated.CallGate``.
    """

    def __init__(self, clock: Clock, leader: Callable[[], LeaderView | None]) -> None:
        """Begin closed, in no term; ``leader`` returns the manager that refusals name."""
        self._clock = clock
        self._leader = leader
        self._deadline_s = NEVER
        self._draining = False
        self._released = False
        self._ended = ""
        self._listeners: list[Callable[[], None]] = []
        self._changed = Broadcast()
        self._term = 0

    @property
    def term(self) -> int:
        """The term of this worker; 0 if it was never promoted."""
        return self._term

    @property
    def deadline_s(self) -> float:
        """The moment at which the gate closes by itself."""
        return NEVER if self._ended else self._deadline_s

    @property
    def ended(self) -> bool:
        """Whether the gate is closed for good, so that a refusal may name a successor."""
        return bool(self._ended)

    @property
    def draining(self) -> bool:
        """Whether no new command may begin any more."""
        return self._draining

    def term_valid(self) -> bool:
        """Whether this worker may answer as the active now."""
        return self._clock.now() < self.deadline_s

    def accepts(self) -> bool:
        """Whether a new command may begin now."""
        return self.term_valid() and not self._draining

    def extend(self, term: int, deadline_s: float) -> None:
        """Open until ``deadline_s``: the guard confirmed ``term``. An older term is ignored."""
        if term < self._term or self._released or self._ended:
            return
        self._term = term
        self._deadline_s = max(self._deadline_s, deadline_s)
        self._notify_listeners()

    def drain(self) -> None:
        """Accept no new command; running ones may be answered while the term is valid."""
        self._draining = True
        self._notify_listeners()

    def release(self) -> None:
        """Close now, because the leader key is about to be released.

        From its deletion on a successor may answer, so nothing may be answered here any more.
        Waiting calls go on waiting until ``end``, when the successor can be named.
        """
        self._draining = True
        self._released = True
        self._deadline_s = min(self._deadline_s, self._clock.now())
        self._notify_listeners()

    def claims(self, term: int) -> bool:
        """Whether a manager may be named as the active of ``term``.

        False for this worker's own term while it is not confirmed. True for any other term.
        """
        return term != self._term or self.term_valid()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each ``extend``, ``drain``, ``release`` and ``end``."""
        self._listeners.append(listener)

    def end(self, why: str) -> None:
        """Close for good, because leadership is released or lost. Waiting calls are refused."""
        self._draining = True
        self._ended = self._ended or why
        self._notify_listeners()

    async def wait_accepting(self, *, until_s: float) -> None:
        """Return as soon as a new command may begin.

        Raises:
            NotActiveError: The gate has closed for good, or did not open before ``until_s``.

        """
        while not self.accepts():
            if self._ended or not await self._wait_changed(until_s):
                raise self.refusal()

    async def wait_term_valid(self, *, until_s: float) -> None:
        """Return as soon as the term is valid.

        Raises:
            TermLostError: The term is over, or was not confirmed again before ``until_s``.

        """
        while not self.term_valid():
            if self._ended:
                raise TermLostError(self._ended)
            if not await self._wait_changed(until_s):
                raise TermLostError(f"term {self._term} could not be confirmed again in time")

    async def wait_answerable(self, *, until_s: float) -> None:
        """Return as soon as the term is valid: for a read, which may be repeated elsewhere.

        Raises:
            NotActiveError: The term is over, or was not confirmed again before ``until_s``. Names
                the successor if one is known.

        """
        try:
            await self.wait_term_valid(until_s=until_s)
        except TermLostError:
            raise self.refusal() from None

    @property
    def changed(self) -> asyncio.Event:
        """The event that the next ``extend``, ``drain``, ``release`` or ``end`` sets."""
        return self._changed.next

    async def wait_changed(self) -> None:
        """Wait for the next ``extend``, ``drain``, ``release`` or ``end``.

        It does not return when the deadline passes.
        """
        await self._changed.wait()

    def refusal(self) -> NotActiveError:
        """Return the error for a caller, which names the present leader unless it is this one."""
        leader = self._leader()
        if leader is None or leader.term == self._term:
            return NotActiveError(None)
        return redirect_error(leader)

    async def _wait_changed(self, until_s: float) -> bool:
        left_s = until_s - self._clock.now()
        return left_s > 0 and await wait(self._changed.next, left_s)

    def _notify_listeners(self) -> None:
        self._changed.notify()
        for listener in self._listeners:
            listener()
