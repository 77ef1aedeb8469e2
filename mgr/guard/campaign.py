"""Campaign for leadership as a standby, and watch for the loss of the leader key as the active."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Callable
from typing import Final

import msgspec

from mgr.access.protection import decode as decode_protection
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
from mgr.guard.store_trouble import Work
from mgr.store.api import Record, Revision
from mgr.waiting import wait

POLL_EVERY_S: Final = 0.5
"""Interval of attempts without an event from the store, in case its feed delivers none."""
RETRY_S: Final = 0.1
"""Pause after an attempt that failed."""

log = logging.getLogger(__name__)


class Campaign:
    """Follows the leader key and campaigns while there is no leader.

    Level-triggered: an event of the feed only makes the next attempt happen sooner.
    """

    def __init__(
        self,
        context: GuardContext,
        state: State,
        session: LeaseSession,
        value: Callable[[], str],
        eligibility: Eligibility,
        on_event: OnEvent,
    ) -> None:
        """Write the result of ``value``, called for each attempt, into the leader key.

        ``eligibility`` is updated from the records in the store.
        """
        self.wake = asyncio.Event()
        """Set it to check at once whether to campaign."""
        self.worker_reaches_store: Callable[[], bool] = lambda: True
        """Whether the worker reaches the store. While it does not, no attempt is made."""
        self._context = context
        self._state = state
        self._session = session
        self._value = value
        self._eligibility = eligibility
        self._on_event = on_event
        me = context.me
        # Any seed is good that differs between managers.
        rng = random.Random(f"{me.boot_id} {me.pid} {context.name}")  # noqa: S311
        self.candidate = Candidate(context.store, context.keys, context.clock, context.name, rng)
        """The state of the leader key and of the other keys that a campaign compares."""

    async def run(self) -> None:
        """Follow the watched keys, and campaign whenever there is no leader; never returns."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(self.candidate.leader))
            tasks.create_task(self._follow(self.candidate.transfer))
            tasks.create_task(self._follow(self.candidate.down))
            tasks.create_task(self._follow(self.candidate.version))
            tasks.create_task(self._follow(self.candidate.protection))
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
                        self._check_eligible()
            watched_key.known = False
            await asyncio.sleep(RETRY_S)

    def _check_loss(self) -> None:
        # The feed delivers committed changes: one of a revision after the term began happened
        # after it. An older one may show the key as absent and proves no loss.
        leader, leadership = self.candidate.leader, self._state.confirmable
        if leadership is None or not leader.known or leader.revision <= leadership.term:
            return
        if leader.record is None or leader.record.create_revision != leadership.term:
            self._on_event(Event.LOST)

    def _check_eligible(self) -> bool:
        """Update the eligibility from the records in the store; return whether eligible."""
        last_version, protection = self.candidate.version.record, self.candidate.protection.record
        self._eligibility.check_leader_version("" if last_version is None else last_version.value)
        self._eligibility.check_protection(
            required=protection is not None and decode_protection(protection.value).required
        )
        eligible = not self._eligibility.reason
        if self._state.phase is Phase.STANDBY and not eligible:
            self._on_event(Event.INELIGIBLE)
        elif self._state.phase is Phase.INELIGIBLE and eligible:
            self._on_event(Event.ELIGIBLE)
        return eligible

    async def _run_attempts(self) -> None:
        while True:
            self.wake.clear()
            pause_s = POLL_EVERY_S
            try:
                if self._state.phase in WAITING and self._session.alive:
                    pause_s = await self._attempt()
                    if self.candidate.leader.record is not None:
                        # Whoever leads writes: what failed here before is over.
                        self._state.trouble.answered(Work.WRITE)
                elif (found := self._overwritten_record()) is not None:
                    await self._repair(found)
            except LeaseExpiredError:
                self._session.forget()
                self._on_event(Event.LOST)
            except StoreError as error:
                self._state.trouble.failed(Work.WRITE, error)
                pause_s = RETRY_S
            await wait(self.wake, pause_s)

    async def _attempt(self) -> float:
        """Campaign once if it is time; return how long to wait until the next check, in seconds."""
        session, candidate = self._session, self.candidate
        timing, lease = session.timing, session.lease
        # An earlier attempt, given up as failed, may have been executed, perhaps long ago.
        late = candidate.holds_leader_key(lease)
        if not late and not (await self._wait_for_turn() and self._check_eligible()):
            return POLL_EVERY_S
        # The deadline counts from the renewal before the attempt, not from one sent while the
        # attempt is under way: the key may be created before that renewal and gone after it.
        heartbeat = self._make_heartbeat()
        sent_s = self._context.clock.now()
        deadline_s = session.deadline_s if heartbeat is None else heartbeat.deadline_s(sent_s)
        attempt = candidate.claim if late else candidate.campaign
        value = self._value()
        gone_s = candidate.leader.changed_s if candidate.leader.record is None else None
        # Read before the attempt: when it is answered, the feed may have delivered this very key.
        newest_before = self._eligibility.identity.newest_term
        acquired = await attempt(value, lease, timing)
        if acquired is None or not await self._is_newest_term(
            acquired.term, newest_before, late=late
        ):
            return RETRY_S
        context = self._context
        leader_key = LeaderKey(
            context.store,
            context.keys,
            context.name,
            acquired.term,
            version=context.me.version,
            term_record=acquired.term_record,
        )
        acquired_s = self._context.clock.now()
        reach(Point.WON)
        self._state.last_leadership = Leadership(
            leader_key,
            deadline_s,
            acquired_s=acquired_s,
            heartbeat=heartbeat,
            since=msgspec.json.decode(value, type=Leader).since,
            gap_s=None if gone_s is None or not math.isfinite(gone_s) else acquired_s - gone_s,
        )
        self._on_event(Event.WON)
        return POLL_EVERY_S

    def _overwritten_record(self) -> Record | None:
        """The leader key of the present term if somebody else changed it, else None."""
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

    async def _is_newest_term(self, term: Revision, newest_before: int, *, late: bool) -> bool:
        """Whether the acquired ``term`` is the newest ever observed; if not, release it.

        ``newest_before`` is the newest term observed before the attempt: a key that the attempt
        created is newer. If it is equal, it is another term: etcd was restored to an earlier
        revision, and counts up again. A restored copy of etcd may also hold an old leader key
        attached to a lease that this manager still has (``late``).
        """
        identity = self._eligibility.identity
        newest = identity.newest_term
        if term > newest or (term == newest and (late or term > newest_before)):
            return True
        log.error("leader key of an old term released", extra={"term": term, "newest": newest})
        if not late:
            # Created just now at a revision below an observed one: etcd as a whole was restored.
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
        """Wait the campaign delay; return whether there still is no leader to wait for."""
        campaign_delay_s = self.candidate.campaign_delay_s(self._session.timing)
        if (
            campaign_delay_s is None
            or self._state.phase is not Phase.STANDBY
            or not self.worker_reaches_store()
        ):
            return False
        await wait(self.wake, campaign_delay_s)
        if self.wake.is_set():
            # The event may name a successor, perhaps this manager: calculate the delay again.
            return False
        vacant = self.candidate.campaign_delay_s(self._session.timing) is not None
        return vacant and self._state.phase is Phase.STANDBY
