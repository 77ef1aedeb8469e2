"""The lease is kept alive, the term is proven, and the alarm rings when the proof runs out."""

from __future__ import annotations

import asyncio
from typing import Final

from mgr.election.machine import WAITING, Event, Phase
from mgr.election.session import LeaseSession
from mgr.errors import LeaseExpiredError, StoreError
from mgr.guard.presence import PresenceKey
from mgr.guard.state import GuardContext, Leadership, OnEvent, State
from mgr.store.api import Revision
from mgr.waiting import wait

STUCK_S: Final = 10.0
"""A worker that is being killed for so long is one that the kernel does not end."""
RETRY_S: Final = 0.1
"""Pause after an attempt that nobody answered. The attempt itself took its time-out."""
PHASES_WITH_ALARM: Final = frozenset({Phase.STARTING, Phase.ACTIVE, Phase.DRAINING})
"""Phases in which something acts that must not, once the proof has run out."""


class Renewals:
    """Every fifth of a lease, one attempt with a short time-out; they never queue up."""

    def __init__(
        self,
        context: GuardContext,
        state: State,
        session: LeaseSession,
        presence_key: PresenceKey,
        on_event: OnEvent,
    ) -> None:
        self.wake = asyncio.Event()
        """Set it to renew without waiting for the next turn."""
        self._clock = context.clock
        self._leader_key = context.keys.leader
        self._state = state
        self._session = session
        self._presence_key = presence_key
        self._on_event = on_event
        self._answered = True
        self._alarm: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Renew, for ever."""
        while True:
            self.wake.clear()
            began_s = self._clock.now()
            attempted = self._session.alive and not self._is_stuck()
            self._answered = not attempted or await self._confirm()
            if attempted and self._answered:
                self._state.contact.on_answer(self._clock.now())
            every_s = self._session.timing.renew_every_s
            pause_s = every_s - (self._clock.now() - began_s) if self._answered else RETRY_S
            await wait(self.wake, max(pause_s, 0.0))

    def _is_stuck(self) -> bool:
        """Whether a worker of this manager's last term does not die.

        Its leader key must not stand for ever: without renewals the lease removes it, and the
        term record, which says ``leading``, makes a successor wait.
        """
        lasted_s = self._clock.now() - self._state.phase_entered_s
        return self._state.phase is Phase.KILLING_WORKER and lasted_s > STUCK_S

    def store_silent(self) -> bool:
        """Whether the store has not answered for longer than two renewals."""
        limit_s = 2 * self._session.timing.renew_every_s
        return self._clock.now() - self._session.last_answer_s > limit_s

    def set_alarm(self) -> None:
        """Ring when the proof of the present phase runs out, if it matters there."""
        self.close()
        leadership = self._state.leadership
        if leadership is not None and self._state.phase in PHASES_WITH_ALARM:
            left_s = leadership.deadline_s - self._clock.now()
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(max(left_s, 0.0), self._on_alarm)

    def close(self) -> None:
        """Ring no more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _on_alarm(self) -> None:
        leadership = self._state.leadership
        if leadership is not None and self._clock.now() >= leadership.deadline_s:
            self._on_event(Event.DEADLINE)
        else:
            self.set_alarm()

    async def _confirm(self) -> bool:
        """Renew the lease and look at the key this phase rests on; False if nobody answered."""
        leadership = self._state.confirmable
        try:
            if leadership is not None:
                deadline_s = await self._verify_and_renew(self._leader_key, leadership.term)
            elif self._state.phase in WAITING and self._presence_key.create_revision:
                deadline_s = await self._verify_and_renew(
                    self._presence_key.key, self._presence_key.create_revision
                )
            else:
                await self._session.renew()
                return True
        except LeaseExpiredError:
            self._on_event(Event.LOST)
            return True
        except StoreError:
            return False
        self._on_renewal(leadership, deadline_s)
        return True

    async def _verify_and_renew(self, key: str, created: Revision) -> float | None:
        # Where requests arrive and answers do not, renewing would keep a lease alive for ever
        # that its holder cannot use: it looks first, and what is not answered is not renewed.
        if not self._answered and not await self._session.has_key(key, created):
            return None
        return await self._session.confirm(key, created)

    def _on_renewal(self, leadership: Leadership | None, deadline_s: float | None) -> None:
        # While the answer was under way the office may have begun or ended: then it is about
        # something else than what is held now.
        if leadership is not self._state.confirmable:
            return
        if deadline_s is None:
            self._on_event(Event.LOST)
        elif leadership is not None and leadership.heartbeat is None:
            # Of a term with a pulse this proves nothing: it may be deposed before its lease ends.
            leadership.deadline_s = max(leadership.deadline_s, deadline_s)
            self._on_event(Event.TERM_CONFIRMED)
            self.set_alarm()
