"""What the election's actions mean: each deed is awaited, and may answer with an event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mgr.clock import Clock, timestamp
from mgr.election.eligibility import Fitness
from mgr.election.heartbeat import outwaited
from mgr.election.machine import Action, Event
from mgr.election.records import Presence, Reason, decode
from mgr.election.session import Session
from mgr.errors import LeaseExpiredError, NameTakenError, StoreError
from mgr.failpoint import Point, reach
from mgr.guard.presence import Place
from mgr.guard.state import Given, State, Term
from mgr.guard.worker_supervisor import Crew
from mgr.link import Drain, Extend, Lead, Released

RETRY_S: Final = 0.05
"""Pause after a first unanswered request; it doubles up to ``RETRY_S_MAX``."""
RETRY_S_MAX: Final = 1.0
TELL_AGAIN_S: Final = 5.0
"""After this somebody who waits is told again why; then after twice as long, and so on."""
TELL_AGAIN_S_MAX: Final = 600.0
DRAIN_SLACK_S: Final = 1.0
"""What a drain may take beyond its budget: stopping the modules comes after the commands."""
PART_SLACK_S: Final = 1.0
MAKE_WAY_S: Final = 0.5
"""A manager that gave its office up to another one starts its next worker after this. A start takes
a second of a processor, which the modules of the successor can use better."""
STOP_PATIENCE_S: Final = 3.0
"""How long a manager that stops tries to give its office back to a store that is silent."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deeds:
    """Does what the machine answered. A deed is cancelled when another one replaces it."""

    given: Given
    state: State
    session: Session
    place: Place
    fitness: Fitness
    crew: Crew
    presence: Callable[[], Presence]

    async def do(self, action: Action) -> Event | None:
        """Do ``action``; the event it led to, or None if that comes another way."""
        deeds: Mapping[Action, Callable[[], Awaitable[Event | None]]] = {
            Action.JOIN: self._join,
            Action.WARM: self._warm,
            Action.LEAD: self._lead,
            Action.DRAIN: self._drain,
            Action.RELEASE: self._release,
            Action.PART: self._part,
            Action.RETIRE: self._retire,
            Action.KILL: self._kill,
            Action.REVOKE: self._revoke,
        }
        return await deeds[action]()

    def extend(self) -> None:
        """Tell the worker how far the proof reaches; not before it was told to lead."""
        term = self.state.taken
        if term is not None and term.effects_from_s is not None:
            self.crew.tell(Extend(term=term.office.term, deadline_s=term.deadline_s))
            if self.crew.acts_outside:
                self.limit()

    def limit(self) -> None:
        """Have the kernel end the worker at the deadline of its term, if its modules act outside.

        Past the deadline nothing is armed: a proof that comes yet extends it.
        """
        term, worker = self.state.term, self.crew.worker
        if worker is None or term is None or term.effects_from_s is None:
            return
        if not self.crew.acts_outside:
            worker.allow_until(None)
        elif self.given.clock.now() < term.deadline_s:
            worker.allow_until(term.deadline_s)

    async def _join(self) -> Event:
        self.state.taken = None
        trouble = _Trouble("joining the cluster", self.given.clock)
        while True:
            try:
                self.fitness.examine(await self.given.store.status(timeout_s=self._request_s))
                await self.session.open()
                await self.place.claim(self.presence())
            except NameTakenError as error:
                self.state.failure = error
                return Event.NAME_TAKEN
            except LeaseExpiredError:
                self.session.forget()
            except StoreError as error:
                await trouble.pause(error)
            else:
                trouble.over()
                return Event.JOINED

    async def _warm(self) -> Event | None:
        await self._make_way()
        await self.crew.warm()
        # One that outlived the loss of a lease has said it before; another will say it.
        return Event.READY if self.crew.ready is not None else None

    async def _make_way(self) -> None:
        """Let a successor start its modules first, if there is somebody who can be one."""
        left_s = self.state.left_s + MAKE_WAY_S - self.given.clock.now()
        if left_s <= 0 or self.crew.worker is not None:
            return
        try:
            found = await self.given.store.list(self.given.keys.managers, timeout_s=self._request_s)
        except StoreError:
            return
        others = (decode(record.value, Presence) for record in found.records)
        if any(other and other.warm and other.name != self.given.name for other in others):
            await asyncio.sleep(left_s)

    async def _lead(self) -> Event | None:
        term = self._held()
        trouble = _Trouble("signing for the term", self.given.clock)
        while True:
            try:
                window_s = self._window_s(term)
                inherited_s = await term.office.sign(window_s, timeout_s=self._request_s)
                break
            except StoreError as error:
                await trouble.pause(error)
        if inherited_s is None:
            return Event.LOST
        term.effects_from_s = term.won_s + inherited_s
        before = term.office.predecessor
        self.crew.tell(
            Lead(
                term=term.office.term,
                deadline_s=term.deadline_s,
                predecessor_quiesced=not inherited_s,
                lease=self.session.lease,
                effects_from_s=term.effects_from_s,
                ended=before.story() if before is not None else "",
                planned=before is None or before.planned,
            )
        )
        return None

    async def _drain(self) -> Event:
        term = self._held()
        wishes = self.state.wishes
        if wishes.successor:
            # Before the drain, so that everybody knows when the key is given back.
            try:
                await term.office.nominate(wishes.successor, timeout_s=self._request_s)
            except StoreError as error:
                log.warning("the successor could not be named", extra={"error": str(error)})
        if term.effects_from_s is None:
            return Event.DRAINED
        drain_s = self.given.settings.drain_s
        self.crew.tell(Drain(term=term.office.term, budget_s=drain_s))
        await asyncio.sleep(drain_s + DRAIN_SLACK_S)
        return Event.OVERDUE

    async def _is_quiet(self) -> bool:
        """End what a drained worker's modules started; False if that failed: it is killed then."""
        worker = self.crew.worker
        if worker is None:
            return True
        if not await worker.sweep():
            log.warning("a process that a module started does not end: the worker is killed")
            self.crew.kill()
            return False
        # Nothing acts any more: it only answers what it still holds.
        worker.allow_until(None)
        return True

    async def _release(self) -> Event | None:
        if not await self._is_quiet():
            return None
        term, reason = self._held(), self._reason()
        why = self.state.wishes.why if reason == "resigned" else ""
        trouble = _Trouble("giving the office back", self.given.clock)
        give_up_s = self.given.clock.now() + STOP_PATIENCE_S
        reach(Point.RELEASE)
        while True:
            now_s = self.given.clock.now()
            left_s = None if term.effects_from_s is None else term.effects_from_s - now_s
            if term.shared:
                left_s = max(left_s or 0.0, self._window_s(term))
            try:
                await term.office.release(reason, left_s=left_s, timeout_s=self._request_s, why=why)
            except StoreError as error:
                if self.state.wishes.stopping and now_s > give_up_s:
                    log.warning("the office was not given back: its lease has to run out")
                    return Event.ABANDONED
                await trouble.pause(error)
            else:
                self.state.left_s = self.given.clock.now()
                log.info("office given back", extra={"term": term.office.term, "reason": reason})
                return Event.RELEASED

    async def _part(self) -> Event | None:
        order = Released(term=self._held().office.term)
        patience_s = self.given.settings.hold_s + PART_SLACK_S
        return None if await self.crew.end(order, patience_s=patience_s) else Event.GONE

    async def _retire(self) -> Event | None:
        why = self.state.wishes.why or "the term is over"
        if self.crew.acts_outside:
            # It asks nobody before it acts: every moment that it lives is one in which it may.
            return await self._kill()
        return None if await self.crew.retire(why) else Event.GONE

    async def _kill(self) -> Event | None:
        return None if self.crew.kill() else Event.GONE

    async def _revoke(self) -> None:
        try:
            await self.session.close()
        except StoreError as error:
            log.warning("the lease has to run out", extra={"error": str(error)})

    @property
    def _request_s(self) -> float:
        return self.session.timing.request_s

    def _window_s(self, term: Term) -> float:
        """How long after the end of its key ``term`` may act, if nothing is heard of it."""
        if term.rhythm is not None:
            return outwaited(term.rhythm.window_s)
        return self.session.timing.window_s

    def _reason(self) -> Reason:
        if self.crew.worker is not None:
            return "resigned"
        if self.state.unable:
            return "unable"
        if self.crew.expired:
            return "deadline"
        return "watchdog" if self.crew.starved else "reaped"

    def _held(self) -> Term:
        if self.state.taken is None:
            raise AssertionError("this deed needs an office")
        return self.state.taken


class _Trouble:
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
            self._again_s = now_s + min(max(lasted_s, TELL_AGAIN_S), TELL_AGAIN_S_MAX)
            fields = {"since": self._since, "for_s": round(lasted_s), "error": str(error)}
            log.warning("%s: the store fails, retrying", self._doing, extra=fields)
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, RETRY_S_MAX)

    def over(self) -> None:
        if self._since:
            fields = {"after_s": round(self._clock.now() - self._since_s)}
            log.info("%s: the store answers again", self._doing, extra=fields)
