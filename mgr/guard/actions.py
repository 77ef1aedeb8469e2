"""What the election's actions mean: each deed is awaited, and may answer with an event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mgr.clock import Clock, timestamp
from mgr.election.eligibility import Eligibility
from mgr.election.heartbeat import safe_takeover_s
from mgr.election.machine import Action, Event
from mgr.election.records import Presence, Reason, decode
from mgr.election.session import LeaseSession
from mgr.errors import LeaseExpiredError, NameTakenError, StoreError
from mgr.failpoint import Point, reach
from mgr.guard.presence import PresenceKey
from mgr.guard.state import GuardContext, Leadership, State
from mgr.guard.worker_supervisor import WorkerSupervisor
from mgr.link import Drain, ExtendDeadline, LeadershipReleased, Promote

RETRY_S: Final = 0.05
"""Pause after a first unanswered request; it doubles up to ``RETRY_S_MAX``."""
RETRY_S_MAX: Final = 1.0
LOG_AGAIN_S: Final = 5.0
"""After this somebody who waits is told again why; then after twice as long, and so on."""
LOG_AGAIN_S_MAX: Final = 600.0
DRAIN_SLACK_S: Final = 1.0
"""What a drain may take beyond its budget: stopping the modules comes after the commands."""
HAND_OVER_SLACK_S: Final = 1.0
YIELD_S: Final = 0.5
"""A manager that gave its office up to another one starts its next worker after this. A start takes
a second of a processor, which the modules of the successor can use better."""
STOP_RELEASE_TIMEOUT_S: Final = 3.0
"""How long a manager that stops tries to give its office back to a store that is silent."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ActionRunner:
    """Does what the machine answered. A deed is cancelled when another one replaces it."""

    context: GuardContext
    state: State
    session: LeaseSession
    presence_key: PresenceKey
    eligibility: Eligibility
    supervisor: WorkerSupervisor
    presence: Callable[[], Presence]

    async def run(self, action: Action) -> Event | None:
        """Do ``action``; the event it led to, or None if that comes another way."""
        handlers: Mapping[Action, Callable[[], Awaitable[Event | None]]] = {
            Action.JOIN: self._join,
            Action.WARM: self._ensure_worker,
            Action.LEAD: self._promote,
            Action.DRAIN: self._drain,
            Action.RELEASE: self._release,
            Action.EXIT_AFTER_HANDOVER: self._finish_hand_over,
            Action.SHUT_DOWN: self._shut_down_worker,
            Action.KILL: self._kill,
            Action.REVOKE: self._revoke,
        }
        return await handlers[action]()

    def extend_deadline(self) -> None:
        """Tell the worker how far the proof reaches; not before it was told to lead."""
        leadership = self.state.last_leadership
        if leadership is not None and leadership.effects_from_s is not None:
            self.supervisor.send(
                ExtendDeadline(term=leadership.term, deadline_s=leadership.deadline_s)
            )
            if self.supervisor.acts_outside:
                self.set_kill_timer()

    def set_kill_timer(self) -> None:
        """Have the kernel end the worker at the deadline of its term, if its modules act outside.

        Past the deadline nothing is armed: a proof that comes yet extends it.
        """
        leadership, worker = self.state.leadership, self.supervisor.worker
        if worker is None or leadership is None or leadership.effects_from_s is None:
            return
        if not self.supervisor.acts_outside:
            worker.set_kill_timer(None)
        elif self.context.clock.now() < leadership.deadline_s:
            worker.set_kill_timer(leadership.deadline_s)

    async def _join(self) -> Event:
        self.state.last_leadership = None
        retry_log = _RetryLog("joining the cluster", self.context.clock)
        while True:
            try:
                self.eligibility.check_store(
                    await self.context.store.status(timeout_s=self._request_s)
                )
                await self.session.open()
                await self.presence_key.claim(self.presence())
            except NameTakenError as error:
                self.state.failure = error
                return Event.NAME_TAKEN
            except LeaseExpiredError:
                self.session.forget()
            except StoreError as error:
                await retry_log.pause(error)
            else:
                retry_log.recovered()
                return Event.JOINED

    async def _ensure_worker(self) -> Event | None:
        await self._yield_to_successor()
        await self.supervisor.ensure_worker()
        # One that outlived the loss of a lease has said it before; another will say it.
        return Event.READY if self.supervisor.ready is not None else None

    async def _yield_to_successor(self) -> None:
        """Let a successor start its modules first, if there is somebody who can be one."""
        left_s = self.state.released_s + YIELD_S - self.context.clock.now()
        if left_s <= 0 or self.supervisor.worker is not None:
            return
        try:
            found = await self.context.store.list(
                self.context.keys.managers, timeout_s=self._request_s
            )
        except StoreError:
            return
        others = (decode(record.value, Presence) for record in found.records)
        if any(other and other.warm and other.name != self.context.name for other in others):
            await asyncio.sleep(left_s)

    async def _promote(self) -> Event | None:
        leadership = self._leadership()
        retry_log = _RetryLog("writing the term record", self.context.clock)
        while True:
            try:
                window_s = self._window_s(leadership)
                predecessor_wait_s = await leadership.key.open_term_record(
                    window_s, timeout_s=self._request_s
                )
                break
            except StoreError as error:
                await retry_log.pause(error)
        if predecessor_wait_s is None:
            return Event.LOST
        leadership.effects_from_s = leadership.acquired_s + predecessor_wait_s
        before = leadership.key.predecessor
        self.supervisor.send(
            Promote(
                term=leadership.term,
                deadline_s=leadership.deadline_s,
                predecessor_quiesced=not predecessor_wait_s,
                lease=self.session.lease,
                effects_from_s=leadership.effects_from_s,
                predecessor_end=before.summary() if before is not None else "",
                planned=before is None or before.planned,
            )
        )
        return None

    async def _drain(self) -> Event:
        leadership = self._leadership()
        requests = self.state.requests
        if requests.successor:
            # Before the drain, so that everybody knows when the key is given back.
            try:
                await leadership.key.nominate(requests.successor, timeout_s=self._request_s)
            except StoreError as error:
                log.warning("could not set the successor", extra={"error": str(error)})
        if leadership.effects_from_s is None:
            return Event.DRAINED
        drain_s = self.context.settings.drain_s
        self.supervisor.send(Drain(term=leadership.term, budget_s=drain_s))
        await asyncio.sleep(drain_s + DRAIN_SLACK_S)
        return Event.OVERDUE

    async def _sweep_worker(self) -> bool:
        """End what a drained worker's modules started; False if that failed: it is killed then."""
        worker = self.supervisor.worker
        if worker is None:
            return True
        if not await worker.sweep():
            log.warning("a process that a module started does not end: the worker is killed")
            self.supervisor.kill()
            return False
        # Nothing acts any more: it only answers what it still holds.
        worker.set_kill_timer(None)
        return True

    async def _release(self) -> Event | None:
        if not await self._sweep_worker():
            return None
        leadership, reason = self._leadership(), self._reason()
        why = self.state.requests.reason if reason == "resigned" else ""
        retry_log = _RetryLog("releasing leadership", self.context.clock)
        give_up_s = self.context.clock.now() + STOP_RELEASE_TIMEOUT_S
        reach(Point.RELEASE)
        while True:
            now_s = self.context.clock.now()
            left_s = (
                None if leadership.effects_from_s is None else leadership.effects_from_s - now_s
            )
            if leadership.shared:
                left_s = max(left_s or 0.0, self._window_s(leadership))
            try:
                await leadership.key.release(
                    reason, left_s=left_s, timeout_s=self._request_s, why=why
                )
            except StoreError as error:
                if self.state.requests.stopping and now_s > give_up_s:
                    log.warning("leadership not released: waiting for the lease to expire")
                    return Event.RELEASE_GIVEN_UP
                await retry_log.pause(error)
            else:
                self.state.released_s = self.context.clock.now()
                log.info("leadership released", extra={"term": leadership.term, "reason": reason})
                return Event.RELEASED

    async def _finish_hand_over(self) -> Event | None:
        order = LeadershipReleased(term=self._leadership().term)
        timeout_s = self.context.settings.hold_s + HAND_OVER_SLACK_S
        return (
            None if await self.supervisor.stop(order, timeout_s=timeout_s) else Event.WORKER_EXITED
        )

    async def _shut_down_worker(self) -> Event | None:
        why = self.state.requests.reason or "the term is over"
        if self.supervisor.acts_outside:
            # It asks nobody before it acts: every moment that it lives is one in which it may.
            return await self._kill()
        return None if await self.supervisor.shut_down(why) else Event.WORKER_EXITED

    async def _kill(self) -> Event | None:
        return None if self.supervisor.kill() else Event.WORKER_EXITED

    async def _revoke(self) -> None:
        try:
            await self.session.close()
        except StoreError as error:
            log.warning("lease not revoked: waiting for it to expire", extra={"error": str(error)})

    @property
    def _request_s(self) -> float:
        return self.session.timing.request_s

    def _window_s(self, leadership: Leadership) -> float:
        """How long after the end of its key ``leadership`` may act, if nothing is heard of it."""
        if leadership.heartbeat is not None:
            return safe_takeover_s(leadership.heartbeat.timeout_s)
        return self.session.timing.window_s

    def _reason(self) -> Reason:
        if self.supervisor.worker is not None:
            return "resigned"
        if self.state.unable:
            return "unable"
        if self.supervisor.killed_by_timer:
            return "deadline"
        return "watchdog" if self.supervisor.killed_by_watchdog else "reaped"

    def _leadership(self) -> Leadership:
        if self.state.last_leadership is None:
            raise AssertionError("this action needs leadership")
        return self.state.last_leadership


class _RetryLog:
    """Pauses between attempts; says ever more seldom that there is trouble, then that it ended."""

    def __init__(self, doing: str, clock: Clock) -> None:
        self._doing = doing
        self._clock = clock
        self._pause_s = RETRY_S
        self._kind = ""
        self._since, self._since_s = "", 0.0
        self._again_s = 0.0

    async def pause(self, error: StoreError) -> None:
        kind, now_s = type(error).__name__, self._clock.now()
        if not self._since:
            self._since, self._since_s = timestamp(), now_s
        if kind != self._kind or now_s >= self._again_s:
            self._kind = kind
            lasted_s = now_s - self._since_s
            self._again_s = now_s + min(max(lasted_s, LOG_AGAIN_S), LOG_AGAIN_S_MAX)
            fields = {"since": self._since, "for_s": round(lasted_s), "error": str(error)}
            log.warning("%s: the store fails, retrying", self._doing, extra=fields)
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, RETRY_S_MAX)

    def recovered(self) -> None:
        if self._since:
            fields = {"after_s": round(self._clock.now() - self._since_s)}
            log.info("%s: the store answers again", self._doing, extra=fields)
