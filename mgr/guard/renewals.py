"""The lease is kept alive, the term is proven, and the alarm rings when the proof runs out."""

from __future__ import annotations

import asyncio
from typing import Final

from mgr.election.machine import WAITING, Event, Phase
from mgr.election.session import Session
from mgr.errors import LeaseExpiredError, StoreError
from mgr.guard.presence import Place
from mgr.guard.state import Given, State, Tell, Term
from mgr.store.api import Revision
from mgr.waiting import woken

STUCK_S: Final = 10.0
"""A worker that is being killed for so long is one that the kernel does not end."""
RETRY_S: Final = 0.1
"""Pause after an attempt that nobody answered. The attempt itself took its time-out."""
ALARMED: Final = frozenset({Phase.STARTING, Phase.ACTIVE, Phase.DRAINING})
"""Phases in which something acts that must not, once the proof has run out."""


class Renewals:
    """Every fifth of a lease, one attempt with a short time-out; they never queue up."""

    def __init__(
        self, given: Given, state: State, session: Session, place: Place, tell: Tell
    ) -> None:
        self.now = asyncio.Event()
        """Set it to renew without waiting for the next turn."""
        self._clock = given.clock
        self._leader_key = given.keys.leader
        self._state = state
        self._session = session
        self._place = place
        self._tell = tell
        self._answered = True
        self._alarm: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Renew, for ever."""
        while True:
            self.now.clear()
            began_s = self._clock.now()
            asked = self._session.alive and not self._is_stuck()
            self._answered = not asked or await self._prove()
            if asked and self._answered:
                self._state.contact.answered(self._clock.now())
            every_s = self._session.timing.renew_every_s
            pause_s = every_s - (self._clock.now() - began_s) if self._answered else RETRY_S
            await woken(self.now, max(pause_s, 0.0))

    def _is_stuck(self) -> bool:
        """Whether a worker of this manager's last term does not die.

        Its leader key must not stand for ever: without renewals the lease removes it, and the
        term record, which says ``leading``, makes a successor wait.
        """
        lasted_s = self._clock.now() - self._state.entered_s
        return self._state.phase is Phase.ENDING and lasted_s > STUCK_S

    def silent(self) -> bool:
        """Whether the store has not answered for longer than two renewals."""
        limit_s = 2 * self._session.timing.renew_every_s
        return self._clock.now() - self._session.heard_s > limit_s

    def set_alarm(self) -> None:
        """Ring when the proof of the present phase runs out, if it matters there."""
        self.close()
        term = self._state.term
        if term is not None and self._state.phase in ALARMED:
            left_s = term.deadline_s - self._clock.now()
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(max(left_s, 0.0), self._ring)

    def close(self) -> None:
        """Ring no more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _ring(self) -> None:
        term = self._state.term
        if term is not None and self._clock.now() >= term.deadline_s:
            self._tell(Event.DEADLINE)
        else:
            self.set_alarm()

    async def _prove(self) -> bool:
        """Renew the lease and look at the key this phase rests on; False if nobody answered."""
        term = self._state.provable
        try:
            if term is not None:
                deadline_s = await self._look_and_renew(self._leader_key, term.office.term)
            elif self._state.phase in WAITING and self._place.created:
                deadline_s = await self._look_and_renew(self._place.key, self._place.created)
            else:
                await self._session.renew()
                return True
        except LeaseExpiredError:
            self._tell(Event.LOST)
            return True
        except StoreError:
            return False
        self._judge(term, deadline_s)
        return True

    async def _look_and_renew(self, key: str, created: Revision) -> float | None:
        # Where requests arrive and answers do not, renewing would keep a lease alive for ever
        # that its holder cannot use: it looks first, and what is not answered is not renewed.
        if not self._answered and not await self._session.holds(key, created):
            return None
        return await self._session.prove(key, created)

    def _judge(self, term: Term | None, deadline_s: float | None) -> None:
        # While the answer was under way the office may have begun or ended: then it is about
        # something else than what is held now.
        if term is not self._state.provable:
            return
        if deadline_s is None:
            self._tell(Event.LOST)
        elif term is not None and term.rhythm is None:
            # Of a term with a pulse this proves nothing: it may be deposed before its lease ends.
            term.deadline_s = max(term.deadline_s, deadline_s)
            self._tell(Event.PROVEN)
            self.set_alarm()
