"""Send the leader heartbeats of an active; each one that succeeds confirms its term."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from mgr.election.heartbeat import AdaptiveHeartbeat, safe_takeover_s
from mgr.election.leader_key import HeartbeatResult
from mgr.election.machine import Event
from mgr.errors import StoreError
from mgr.failpoint import Point, reach
from mgr.guard.state import GuardContext, Leadership, OnEvent, State
from mgr.guard.store_trouble import Work
from mgr.waiting import wait

log = logging.getLogger(__name__)


class LeaderHeartbeat:
    """Sends one heartbeat per interval, each with a short time-out, so that they never queue up."""

    def __init__(
        self,
        context: GuardContext,
        state: State,
        *,
        alive: Callable[[], bool],
        on_confirmed: Callable[[], None],
        forget_lease: Callable[[], None],
        on_event: OnEvent,
    ) -> None:
        """Send heartbeats while ``alive`` returns that the worker responds.

        ``on_confirmed`` is called when a deadline has moved, ``forget_lease`` when another process
        turns out to use the same lease.
        """
        self.wake = asyncio.Event()
        """Set it to send a heartbeat without waiting for the next interval."""
        self._clock = context.clock
        self._profile = context.heartbeat_profile
        self._state = state
        self._alive = alive
        self._on_confirmed = on_confirmed
        self._forget_lease = forget_lease
        self._on_event = on_event

    async def run(self) -> None:
        """Send heartbeats; never returns, unless the profile has no heartbeats."""
        if self._profile is None:
            return
        while True:
            self.wake.clear()
            began_s = self._clock.now()
            leadership = self._state.confirmable
            # No heartbeats for a worker that sends none itself: they would keep other managers
            # from taking over although this one does no work.
            if leadership is not None and leadership.heartbeat is not None and self._alive():
                await self._send(leadership, leadership.heartbeat)
            pause_s = self._profile.every_s - (self._clock.now() - began_s)
            await wait(self.wake, max(pause_s, 0.0))

    async def _send(self, leadership: Leadership, heartbeat: AdaptiveHeartbeat) -> None:
        # The deadline counts from before the request, a standby's timeout from after its commit.
        sent_s = self._clock.now()
        reach(Point.LEADER_HEARTBEAT)
        try:
            outcome = await leadership.key.send_heartbeat(timeout_s=heartbeat.request_s)
        except StoreError as error:
            self._state.trouble.failed(Work.WRITE, error)
            return
        self._state.trouble.answered(Work.WRITE)
        self._state.contact.on_answer(self._clock.now())
        if leadership is not self._state.confirmable:
            return
        if outcome is HeartbeatResult.SHARED:
            log.critical(
                "another process acts in this very term: was this machine resumed twice from one "
                "snapshot? Leadership and lease are given up",
                extra={"term": leadership.term},
            )
            leadership.shared = True
            self._forget_lease()
        if outcome is not HeartbeatResult.CONFIRMED:
            self._on_event(Event.LOST)
            return
        now_s = self._clock.now()
        heartbeat.on_success(sent_s, now_s)
        leadership.deadline_s = max(leadership.deadline_s, heartbeat.deadline_s(sent_s))
        if leadership.deadline_s > now_s:
            self._on_event(Event.TERM_CONFIRMED)
            self._on_confirmed()
        await self._adapt_timeout(leadership, heartbeat)

    async def _adapt_timeout(self, leadership: Leadership, heartbeat: AdaptiveHeartbeat) -> None:
        if leadership.effects_from_s is None or leadership is not self._state.confirmable:
            return
        before_s = heartbeat.timeout_s
        window_s = heartbeat.timeout_to_write(leadership.deadline_s)
        if window_s is None:
            return
        try:
            done = await leadership.key.write_heartbeat_timeout(
                window_s, safe_takeover_s(window_s), timeout_s=heartbeat.request_s
            )
        except StoreError:
            return
        if done:
            heartbeat.on_timeout_written(window_s)
            fields = {"timeout_s": round(window_s, 3), "before_s": round(before_s, 3)}
            log.info("leader heartbeat timeout changed", extra=fields)
