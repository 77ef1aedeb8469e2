"""Renew the lease, confirm the term, and raise DEADLINE when no confirmation came in time."""

from __future__ import annotations

import asyncio
from typing import Final

from mgr.election.machine import WAITING, Event, Phase
from mgr.election.session import LeaseSession
from mgr.errors import LeaseExpiredError, StoreError
from mgr.guard.presence import PresenceKey
from mgr.guard.state import GuardContext, Leadership, OnEvent, State
from mgr.guard.store_trouble import Work
from mgr.store.api import Revision
from mgr.waiting import wait

STUCK_S: Final = 10.0
"""After this, a worker that is being killed is regarded as one that the kernel cannot end."""
RETRY_S: Final = 0.1
"""Pause after an attempt without an answer. The attempt itself took its time-out."""
PHASES_WITH_ALARM: Final = frozenset({Phase.STARTING, Phase.ACTIVE, Phase.DRAINING})
"""Phases in which the worker acts, and must stop acting at the deadline."""


class Renewals:
    """Renews the lease every fifth of its length, each time with a short time-out."""

    def __init__(
        self,
        context: GuardContext,
        state: State,
        session: LeaseSession,
        presence_key: PresenceKey,
        on_event: OnEvent,
    ) -> None:
        self.wake = asyncio.Event()
        """Set it to renew without waiting for the next interval."""
        self._clock = context.clock
        self._leader_key = context.keys.leader
        self._state = state
        self._session = session
        self._presence_key = presence_key
        self._on_event = on_event
        self._answered = True
        self._alarm: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Renew the lease periodically; never returns."""
        while True:
            self.wake.clear()
            began_s = self._clock.now()
            attempted = self._session.alive and not self._is_stuck()
            self._answered = not attempted or await self._confirm()
            if attempted and self._answered:
                self._state.trouble.answered(Work.RENEW)
                self._state.contact.on_answer(self._clock.now())
            every_s = self._session.timing.renew_every_s
            pause_s = every_s - (self._clock.now() - began_s) if self._answered else RETRY_S
            await wait(self.wake, max(pause_s, 0.0))

    def _is_stuck(self) -> bool:
        """Whether the worker of this manager's last term cannot be killed.

        Then the leader key must not exist for ever: without renewals the lease expires and deletes
        it, and the term record, which still says ``leading``, makes a successor wait.
        """
        lasted_s = self._clock.now() - self._state.phase_entered_s
        return self._state.phase is Phase.KILLING_WORKER and lasted_s > STUCK_S

    def store_silent(self) -> bool:
        """Whether the store has not answered for longer than two renewals."""
        limit_s = 2 * self._session.timing.renew_every_s
        return self._clock.now() - self._session.last_answer_s > limit_s

    def set_alarm(self) -> None:
        """Raise DEADLINE at the deadline of the term, in phases in which the worker acts."""
        self.close()
        leadership = self._state.leadership
        if leadership is not None and self._state.phase in PHASES_WITH_ALARM:
            left_s = leadership.deadline_s - self._clock.now()
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(max(left_s, 0.0), self._on_alarm)

    def close(self) -> None:
        """Cancel the alarm."""
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
        """Renew the lease and read the key that this phase depends on; False without an answer."""
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
        except StoreError as error:
            self._state.trouble.failed(Work.RENEW, error)
            return False
        self._on_renewal(leadership, deadline_s)
        return True

    async def _verify_and_renew(self, key: str, created: Revision) -> float | None:
        # If requests arrive and answers do not, renewing would keep a lease alive for ever that
        # its holder cannot use. So after a missing answer the key is read first, and the lease is
        # renewed only if that was answered.
        if not self._answered and not await self._session.has_key(key, created):
            return None
        return await self._session.confirm(key, created)

    def _on_renewal(self, leadership: Leadership | None, deadline_s: float | None) -> None:
        # The term may have begun or ended while the request was under way: then the answer is not
        # about the present term.
        if leadership is not self._state.confirmable:
            return
        if deadline_s is None:
            self._on_event(Event.LOST)
        elif leadership is not None and leadership.heartbeat is None:
            # A term with heartbeats is not confirmed by this: it may be deposed before its lease
            # expires.
            leadership.deadline_s = max(leadership.deadline_s, deadline_s)
            self._on_event(Event.TERM_CONFIRMED)
            self.set_alarm()
