"""Run the actions of the election state machine. Each may return the event that follows from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mgr.clock import Clock, timestamp
from mgr.election.eligibility import Eligibility
from mgr.election.heartbeat import safe_takeover_s
from mgr.election.history import LeadershipChange
from mgr.election.machine import Action, Event
from mgr.election.records import Ending, Presence, Reason, TermRecord, decode
from mgr.election.session import LeaseSession
from mgr.errors import LeaseExpiredError, NameTakenError, StoreError
from mgr.failpoint import Point, reach
from mgr.guard.presence import PresenceKey
from mgr.guard.state import GuardContext, Leadership, State
from mgr.guard.store_trouble import StoreTrouble, Work
from mgr.guard.worker_supervisor import WorkerSupervisor
from mgr.link import Drain, ExtendDeadline, LeadershipReleased, Prepare, Promote
from mgr.retry_log import RetryLog
from mgr.store.api import Operation

RETRY_S: Final = 0.05
"""Pause after the first request without an answer; it doubles up to ``RETRY_S_MAX``."""
RETRY_S_MAX: Final = 1.0
DRAIN_SLACK_S: Final = 1.0
"""How long a drain may take beyond its budget: modules are stopped after the commands."""
HAND_OVER_SLACK_S: Final = 1.0
YIELD_S: Final = 0.5
"""Delay before a manager that released leadership starts its next worker. Starting a worker takes a
second of processor time, which the modules of a successor on the same host need first."""
LISTEN_WITHOUT_STORE_S: Final = 1.0
"""A manager that could not join for this long starts its worker all the same, whose HTTP port shows
that it is alive and why it is not ready."""
STOP_RELEASE_TIMEOUT_S: Final = 3.0
"""How long a stopping manager tries to release leadership while the store does not answer."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ActionRunner:
    """Runs the actions that the state machine returns.

    ``Guard`` cancels an action when another one replaces it, so each can be cancelled at every
    ``await`` and repeats nothing that was done before.
    """

    context: GuardContext
    state: State
    session: LeaseSession
    presence_key: PresenceKey
    eligibility: Eligibility
    supervisor: WorkerSupervisor
    presence: Callable[[], Presence]
    along: Callable[[], Sequence[Operation]] = tuple
    """What the release of leadership after the death of a worker writes in its transaction."""

    async def run(self, action: Action) -> Event | None:
        """Run ``action``; return the event that follows, or None if that is raised elsewhere."""
        handlers: Mapping[Action, Callable[[], Awaitable[Event | None]]] = {
            Action.JOIN: self._join,
            Action.START_WORKER: self._ensure_worker,
            Action.PROMOTE: self._promote,
            Action.DRAIN: self._drain,
            Action.RELEASE: self._release,
            Action.EXIT_AFTER_HANDOVER: self._finish_hand_over,
            Action.SHUT_DOWN: self._shut_down_worker,
            Action.KILL: self._kill,
            Action.REVOKE: self._revoke,
        }
        return await handlers[action]()

    def extend_deadline(self) -> None:
        """Send the worker its new deadline, unless it was not promoted yet."""
        leadership = self.state.last_leadership
        if leadership is not None and leadership.effects_from_s is not None:
            self.supervisor.send(
                ExtendDeadline(term=leadership.term, deadline_s=leadership.deadline_s)
            )
            if self.supervisor.acts_outside:
                self.set_kill_timer()

    def set_kill_timer(self) -> None:
        """Let the kernel kill the worker at the deadline of its term, if its modules act outside.

        After the deadline no timer is set: the worker is suspended, and a late confirmation may
        still resume it.
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
        retries = _StoreRetries("joining the cluster", self.context.clock, self.state.trouble)
        begun_s, blind = self.context.clock.now(), False
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
                if self.context.clock.now() - begun_s >= LISTEN_WITHOUT_STORE_S:
                    if self.supervisor.worker is None:
                        blind = not self.eligibility.identity.cluster_id
                    await self.supervisor.ensure_worker()
                await retries.pause(error)
            else:
                retries.recovered()
                if blind and self.eligibility.identity.cluster_id:
                    await self._end_blind_worker()
                return Event.JOINED

    async def _end_blind_worker(self) -> None:
        """End a worker that was started before the guard knew which etcd cluster is meant.

        By itself it may have found another one. The next worker gets the cluster id with ``Init``.
        """
        while self.supervisor.kill():  # noqa: ASYNC110 - its exit is the supervisor's to report
            await asyncio.sleep(RETRY_S)

    async def _ensure_worker(self) -> Event | None:
        await self._yield_to_successor()
        await self.supervisor.ensure_worker()
        # A worker that outlived the loss of a lease has sent ``Ready`` before; a new one will.
        return Event.READY if self.supervisor.ready is not None else None

    async def _yield_to_successor(self) -> None:
        """Wait until a successor has started its modules, if there is another warm standby."""
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
        self.supervisor.send(Prepare(term=leadership.term, lease=self.session.lease))
        retries = _StoreRetries("writing the term record", self.context.clock, self.state.trouble)
        while True:
            try:
                window_s = self._window_s(leadership)
                predecessor_wait_s = await leadership.key.open_term_record(
                    window_s, timeout_s=self._request_s, along=self._history_of(leadership)
                )
                break
            except StoreError as error:
                await retries.pause(error)
        if predecessor_wait_s is None:
            return Event.LOST
        leadership.effects_from_s = leadership.acquired_s + predecessor_wait_s
        before = leadership.key.predecessor
        self.supervisor.send(
            Promote(
                term=leadership.term,
                deadline_s=leadership.deadline_s,
                predecessor_quiesced=not predecessor_wait_s,
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
            # Before the drain, so that every manager has seen it when the leader key is released.
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
        """Kill the processes that a drained worker's modules started.

        Returns False if one of them does not end: then the worker is killed as well.
        """
        worker = self.supervisor.worker
        if worker is None:
            return True
        if not await worker.sweep():
            log.warning("a process that a module started does not end: the worker is killed")
            self.supervisor.kill()
            return False
        # Nothing of the term acts any more: the worker only answers the calls that it still has.
        worker.set_kill_timer(None)
        return True

    async def _release(self) -> Event | None:
        if not await self._sweep_worker():
            return None
        leadership, reason = self._leadership(), self._reason()
        why, ending = self._why(reason), self._ending(reason)
        retries = _StoreRetries("releasing leadership", self.context.clock, self.state.trouble)
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
                    reason,
                    left_s=left_s,
                    timeout_s=self._request_s,
                    why=why,
                    ending=ending,
                    along=() if self.supervisor.worker is not None else self.along(),
                )
            except StoreError as error:
                if self.state.requests.stopping and now_s > give_up_s:
                    log.warning("leadership not released: waiting for the lease to expire")
                    return Event.RELEASE_GIVEN_UP
                await retries.pause(error)
            else:
                self.state.released_s = self.context.clock.now()
                retries.recovered()
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
            # Nothing fences its effects outside etcd, so it gets no time to exit by itself.
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
        """How long after the end of its key an unreachable holder of ``leadership`` may act."""
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

    def _why(self, reason: Reason) -> str:
        """Who requested the end of the term, and how it was done; empty if nobody did."""
        asked = self.state.requests.reason
        if reason == "resigned" or not asked:
            return asked
        if reason != "reaped":
            return ""
        if self.state.overdue:
            return f"{asked}; a module did not stop in time, so the worker was killed"
        return f"{asked}; the worker ended before its modules had stopped"

    def _ending(self, reason: Reason) -> Ending:
        """What the history of leadership tells of the end of this term, beside the reason."""
        supervisor, handed_over = self.supervisor, reason == "resigned"
        return Ending(
            at=timestamp(),
            asked_by=self.state.requests.asked_by if handed_over or reason == "reaped" else "",
            cause="" if handed_over else supervisor.ended,
            silent_s=self.context.settings.watchdog_s if reason == "watchdog" else 0.0,
        )

    def _history_of(
        self, leadership: Leadership
    ) -> Callable[[TermRecord | None], Sequence[Operation]]:
        """Return the write that adds this term to the history, given the record before it."""
        me, keys = self.context.me, self.context.keys

        def operations(before: TermRecord | None) -> Sequence[Operation]:
            change = LeadershipChange(
                term=leadership.term,
                name=self.context.name,
                host=me.host,
                version=me.version,
                since=leadership.since,
                gap_s=None if leadership.gap_s is None else round(leadership.gap_s, 6),
                before=before,
            )
            return [change.operation(keys)]

        return operations

    def _leadership(self) -> Leadership:
        if self.state.last_leadership is None:
            raise AssertionError("this action needs leadership")
        return self.state.last_leadership


class _StoreRetries:
    """Pauses between the attempts of one operation, and logs while the store fails."""

    def __init__(self, operation: str, clock: Clock, trouble: StoreTrouble) -> None:
        self._operation = operation
        self._trouble = trouble
        self._clock = clock
        self._pause_s = RETRY_S
        self._retry_log: RetryLog | None = None

    async def pause(self, error: StoreError) -> None:
        self._trouble.failed(Work.WRITE, error)
        now_s = self._clock.now()
        if self._retry_log is None:
            self._retry_log = RetryLog(log, now_s, since=timestamp(), operation=self._operation)
        self._retry_log.failing(
            now_s,
            "the store fails, retrying",
            kind=type(error).__name__,
            error=str(error),
        )
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, RETRY_S_MAX)

    def recovered(self) -> None:
        self._trouble.answered(Work.WRITE)
        if self._retry_log is not None:
            self._retry_log.recovered(
                self._clock.now(),
                "the store answers again",
                level=logging.INFO,
            )
