"""The active gives signs of life, and each that succeeds is the proof of its term."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from mgr.election.heartbeat import Rhythm, outwaited
from mgr.election.leader_key import Beat
from mgr.election.machine import Event
from mgr.errors import StoreError
from mgr.failpoint import Point, reach
from mgr.guard.state import Given, State, Tell, Term
from mgr.waiting import woken

log = logging.getLogger(__name__)


class Pulses:
    """One attempt in every beat, each with a short time-out; they never queue up."""

    def __init__(
        self,
        given: Given,
        state: State,
        *,
        alive: Callable[[], bool],
        proven: Callable[[], None],
        disown: Callable[[], None],
        tell: Tell,
    ) -> None:
        """Beat while ``alive`` says that there is a worker to beat for.

        ``proven`` is called when a deadline has moved, ``disown`` when somebody else turns out to
        have the same lease.
        """
        self.now = asyncio.Event()
        """Set it to beat without waiting for the next turn."""
        self._clock = given.clock
        self._cadence = given.cadence
        self._state = state
        self._alive = alive
        self._proven = proven
        self._disown = disown
        self._tell = tell

    async def run(self) -> None:
        """Beat, for ever; at once back if there is to be no pulse."""
        if self._cadence is None:
            return
        while True:
            self.now.clear()
            began_s = self._clock.now()
            term = self._state.provable
            # Nothing is sent for a worker that gives no sign of life itself: a lease that lives
            # on while the work stands still is what keeps others from taking over.
            if term is not None and term.rhythm is not None and self._alive():
                await self._beat(term, term.rhythm)
            pause_s = self._cadence.every_s - (self._clock.now() - began_s)
            await woken(self.now, max(pause_s, 0.0))

    async def _beat(self, term: Term, rhythm: Rhythm) -> None:
        # The moment before the request counts: a standby counts from after it was done.
        sent_s = self._clock.now()
        reach(Point.PULSE)
        try:
            became = await term.office.beat(timeout_s=rhythm.request_s)
        except StoreError:
            return
        self._state.contact.answered(self._clock.now())
        if term is not self._state.provable:
            return
        if became is Beat.SHARED:
            log.critical(
                "another process holds this very term: was this machine resumed twice from one "
                "snapshot? The term is given up, and the lease with it",
                extra={"term": term.office.term},
            )
            term.shared = True
            self._disown()
        if became is not Beat.HELD:
            self._tell(Event.LOST)
            return
        now_s = self._clock.now()
        rhythm.beaten(sent_s, now_s)
        term.deadline_s = max(term.deadline_s, rhythm.deadline_s(sent_s))
        if term.deadline_s > now_s:
            self._tell(Event.PROVEN)
            self._proven()
        await self._adapt(term, rhythm)

    async def _adapt(self, term: Term, rhythm: Rhythm) -> None:
        if term.effects_from_s is None or term is not self._state.provable:
            return
        before_s = rhythm.window_s
        window_s = rhythm.rewriting(term.deadline_s)
        if window_s is None:
            return
        try:
            done = await term.office.adapt(
                window_s, outwaited(window_s), timeout_s=rhythm.request_s
            )
        except StoreError:
            return
        if done:
            rhythm.rewritten(window_s)
            fields = {"window_s": round(window_s, 3), "before_s": round(before_s, 3)}
            log.info("the pulse's window changed", extra=fields)
