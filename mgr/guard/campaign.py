"""A standby looks for an empty office and takes it; an active watches that it keeps its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Final

import msgspec

from mgr.election.candidate import Candidate, WatchedKey
from mgr.election.eligibility import Eligibility
from mgr.election.heartbeat import AdaptiveHeartbeat
from mgr.election.leader_key import LeaderKey
from mgr.election.machine import WAITING, Event, Phase
from mgr.election.records import Leader, decode, encode
from mgr.election.session import LeaseSession
from mgr.errors import LeaseExpiredError, StoreError
from mgr.failpoint import Point, reach
from mgr.guard.state import GuardContext, Leadership, OnEvent, State
from mgr.store.api import Record, Revision
from mgr.waiting import wait

POLL_EVERY_S: Final = 0.5
"""How often to look without being woken: the net under a feed that is silent."""
RETRY_S: Final = 0.1
"""Pause after an attempt that failed."""

log = logging.getLogger(__name__)


class Campaign:
    """Level, not edge: news only makes the next look come sooner."""

    def __init__(
        self,
        context: GuardContext,
        state: State,
        session: LeaseSession,
        value: Callable[[], str],
        eligibility: Eligibility,
        on_event: OnEvent,
    ) -> None:
        """Write ``value``, asked anew for each attempt, into the leader key.

        ``eligibility`` is told which release led last.
        """
        self.wake = asyncio.Event()
        """Set it to look at once."""
        self.worker_reaches_store: Callable[[], bool] = lambda: True
        """Whether the worker reaches the store. While it does not, no attempt is made."""
        self._context = context
        self._state = state
        self._session = session
        self._value = value
        self._eligibility = eligibility
        self._on_event = on_event
        me = context.me
        # Any seed will do that differs between managers.
        rng = random.Random(f"{me.boot_id} {me.pid} {context.name}")  # noqa: S311
        self.candidate = Candidate(context.store, context.keys, context.clock, context.name, rng)
        """What is known of the office."""

    async def run(self) -> None:
        """Follow who leads, and try whenever nobody does; for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(self.candidate.leader))
            tasks.create_task(self._follow(self.candidate.transfer))
            tasks.create_task(self._follow(self.candidate.down))
            tasks.create_task(self._follow(self.candidate.version))
            tasks.create_task(self._run_attempts())

    async def _follow(self, watched_key: WatchedKey) -> None:
        while True:
            with contextlib.suppress(StoreError):
                async with contextlib.aclosing(self._context.store.follow(watched_key.key)) as feed:
                    async for event in feed:
                        watched_key.apply(event, self._context.clock.now())
                        self._note_term()
                        self.wake.set()
                        self._check_loss()
                        self._check_version()
            watched_key.known = False
            await asyncio.sleep(RETRY_S)

    def _check_loss(self) -> None:
        # The feed tells facts: what it says after the term began, happened after it.
        leader, leadership = self.candidate.leader, self._state.confirmable
        if leadership is None or not leader.known or leader.revision <= leadership.term:
            return
        if leader.record is None or leader.record.create_revision != leadership.term:
            self._on_event(Event.LOST)

    def _check_version(self) -> bool:
        """Whether this manager may lead, as far as is known; the machine is told."""
        led = self.candidate.version.record
        self._eligibility.check_leader_version("" if led is None else led.value)
        fit = not self._eligibility.reason
        if self._state.phase is Phase.STANDBY and not fit:
            self._on_event(Event.INELIGIBLE)
        elif self._state.phase is Phase.INELIGIBLE and fit:
            self._on_event(Event.ELIGIBLE)
        return fit

    async def _run_attempts(self) -> None:
        while True:
            self.wake.clear()
            pause_s = POLL_EVERY_S
            try:
                if self._state.phase in WAITING and self._session.alive:
                    pause_s = await self._attempt()
                elif (found := self._overwritten_record()) is not None:
                    await self._repair(found)
            except LeaseExpiredError:
                self._session.forget()
                self._on_event(Event.LOST)
            except StoreError:
                pause_s = RETRY_S
            await wait(self.wake, pause_s)

    async def _attempt(self) -> float:
        """Look, decide, try; how long to wait until the next look."""
        session, candidate = self._session, self.candidate
        timing, lease = session.timing, session.lease
        # An attempt may have come through that was given up as lost, perhaps long ago.
        late = candidate.holds_leader_key(lease)
        if not late and not (await self._wait_for_turn() and self._check_version()):
            return POLL_EVERY_S
        # What was renewed before the attempt counts, not what was sent while it was under way:
        # the key may have been made before that, and be gone after it.
        heartbeat = self._make_heartbeat()
        sent_s = self._context.clock.now()
        deadline_s = session.deadline_s if heartbeat is None else heartbeat.deadline_s(sent_s)
        attempt = candidate.claim if late else candidate.campaign
        # By the answer, the feed may have shown this very key.
        seen = self._eligibility.identity.newest_term
        term = await attempt(self._value(), lease, timing)
        if term is None or not await self._is_newest_term(term, seen, late=late):
            return RETRY_S
        context = self._context
        leader_key = LeaderKey(
            context.store, context.keys, context.name, term, version=context.me.version
        )
        acquired_s = self._context.clock.now()
        reach(Point.WON)
        self._state.last_leadership = Leadership(
            leader_key, deadline_s, acquired_s=acquired_s, heartbeat=heartbeat
        )
        self._on_event(Event.WON)
        return POLL_EVERY_S

    def _overwritten_record(self) -> Record | None:
        """The leader key of the present term if somebody else wrote it; None if all is well."""
        leadership, found = self._state.confirmable, self.candidate.leader.record
        if leadership is None or found is None or found.create_revision != leadership.term:
            return None
        leader = decode(found.value, Leader)
        ours = leader is not None and leader.name == self._context.name
        return None if ours and found.lease == self._session.lease else found

    async def _repair(self, found: Record) -> None:
        leadership = self._state.confirmable
        if leadership is None or not self._session.alive:
            return
        log.error(
            "leader key overwritten by somebody else: repaired",
            extra={"term": leadership.term, "mod_revision": found.mod_revision},
        )
        leader = decode(found.value, Leader)
        if leader is None or leader.name != self._context.name:
            leader = msgspec.json.decode(self._value(), type=Leader)
            if leadership.heartbeat is not None:
                leader = msgspec.structs.replace(
                    leader, heartbeat_timeout_s=leadership.heartbeat.timeout_s
                )
        await leadership.key.repair(
            encode(leader),
            self._session.lease,
            found,
            timeout_s=self._session.timing.request_s,
        )

    def _note_term(self) -> None:
        leader = self.candidate.leader.record
        if leader is not None:
            self._eligibility.identity.note_term(leader.create_revision)

    async def _is_newest_term(self, term: Revision, seen: int, *, late: bool) -> bool:
        """Whether ``term``, which was just won, is the newest ever seen; if not, give it back.

        ``seen`` is the newest term before the attempt: a key that was made by it is newer. Made at
        that very term, it is another one, of an etcd that was restored to the revision before.
        A copy of etcd may hold a leader key of long ago whose lease is still ours (``late``).
        """
        identity = self._eligibility.identity
        newest = identity.newest_term
        if term > newest or (term == newest and (late or term > seen)):
            return True
        log.error("leader key of an old term released", extra={"term": term, "newest": newest})
        if not late:
            # Made just now, below what was seen: so etcd as a whole went back in time.
            identity.advance(term, newest)
        await self.candidate.release_key(term, self._session.timing)
        return False

    def _make_heartbeat(self) -> AdaptiveHeartbeat | None:
        heartbeat_profile = self._context.heartbeat_profile
        return (
            None
            if heartbeat_profile is None
            else AdaptiveHeartbeat(heartbeat_profile, self._session.timing.ttl_s)
        )

    async def _wait_for_turn(self) -> bool:
        """Wait as long as a fair candidate does; whether the office is still there to be taken."""
        campaign_delay_s = self.candidate.campaign_delay_s(self._session.timing)
        if (
            campaign_delay_s is None
            or self._state.phase is not Phase.STANDBY
            or not self.worker_reaches_store()
        ):
            return False
        await wait(self.wake, campaign_delay_s)
        if self.wake.is_set():
            # It may be about the successor: who waits for another's head start may be named now.
            return False
        vacant = self.candidate.campaign_delay_s(self._session.timing) is not None
        return vacant and self._state.phase is Phase.STANDBY
