"""The guard: composition root of the parent process. It decides who leads; it runs no module.

``_on`` is the only place where the phase changes. Everything else either tells it what happened
or does what it answered. What runs in this process can be read off ``run``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from mgr.clock import Clock
from mgr.election.eligibility import Fitness
from mgr.election.machine import TRANSITIONS, WAITING, Action, Event, Phase, step
from mgr.election.session import Session
from mgr.election.timing import Timing
from mgr.errors import CannotListenError, StoreError
from mgr.guard.actions import Deeds
from mgr.guard.campaign import Campaign
from mgr.guard.heartbeat import Pulses
from mgr.guard.identity import Identity
from mgr.guard.leader_monitor import Vigil
from mgr.guard.notify_systemd import Notifier
from mgr.guard.presence import Place
from mgr.guard.records import Records, Signboard
from mgr.guard.renewals import Renewals
from mgr.guard.state import Given, State, Term
from mgr.guard.worker_supervisor import Crew, Patience, StartWorker
from mgr.link import (
    ActsOutside,
    Drained,
    Fenced,
    FromWorker,
    Modules,
    Ready,
    Resign,
    Standing,
    Started,
    TimeLimited,
    Unable,
)
from mgr.settings import Settings
from mgr.state_machine import UnexpectedEventError
from mgr.store.api import Store
from mgr.store.identity import StoreIdentity

EXAMINE_EVERY_S: Final = 10.0
START_SLACK_S: Final = 15.0
"""What starting a worker may take beyond the load limit: interpreter, imports, first listing."""

WATCH_EVERY_S: Final = 0.5
"""How often to judge whether the worker reaches the store."""
NOTED: Final = frozenset({Phase.BLOCKED, Phase.STALLED, Phase.SUSPENDED})
"""Phases whose reason may be the store."""

log = logging.getLogger(__name__)


class Guard:
    """One manager, from joining to being stopped."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        start_worker: StartWorker,
        me: Identity,
        notifier: Notifier,
    ) -> None:
        """Be manager ``settings.id``, running as ``me``, with workers from ``start_worker``.

        Raises:
            InvalidSettingError: The lease is too short for its margins.

        """
        given = Given(settings, store, clock, me)
        self._given = given
        self._notifier = notifier
        self._state = State()
        self._session = Session(store, clock, Timing.of_lease(settings.lease_ttl_s))
        self._place = Place(given, self._session)
        self._renewals = Renewals(given, self._state, self._session, self._place, self._tell)
        self._start_s = settings.module_load_s + START_SLACK_S
        patience = Patience(
            watchdog_s=settings.watchdog_s,
            start_s=self._start_s,
            excused=self._renewals.silent,
        )
        self._crew = Crew(start_worker, clock, patience, self._said, self._gone, self._limited)
        records = Records(given, self._state, self._session, self._crew)
        self._signboard = Signboard(records, self._place, self._state, self._on)
        self._fitness = Fitness(
            me.version, untrusted=settings.etcd_untrusted, downgrade=settings.downgrade
        )
        self._campaign = Campaign(
            given, self._state, self._session, records.leader, self._fitness, self._on
        )
        self._campaign.able = lambda: self._crew.health.current
        self._pulses = self._make_pulses()
        self._vigil = Vigil(
            given, self._state, self._campaign.candidate.leader, self._campaign.news
        )
        self._deeds = Deeds(
            given,
            self._state,
            self._session,
            self._place,
            self._fitness,
            self._crew,
            records.presence,
        )
        self._deed: asyncio.Task[None] | None = None
        self._restores = 0
        self._over = asyncio.Event()
        self._bug: Exception | None = None

    def _make_pulses(self) -> Pulses:
        return Pulses(
            self._given,
            self._state,
            alive=self._crew.alive,
            proven=self._renewals.set_alarm,
            disown=self._session.forget,
            tell=self._on,
        )

    def use(self, identity: StoreIdentity) -> None:
        """Judge the store by ``identity``. To be called before ``run``."""
        self._fitness.identity = identity
        self._restores = identity.restores
        identity.subscribe(self._judge_store)

    @property
    def phase(self) -> Phase:
        """The part this manager plays."""
        return self._state.phase

    @property
    def term(self) -> Term | None:
        """The office held; None in a phase that holds none."""
        return self._state.term

    async def run(self) -> None:
        """Be a manager until stopped.

        Raises:
            NameTakenError: Another live manager has this name; nothing was changed.
            CannotListenError: The first worker found its port taken.

        """
        async with asyncio.TaskGroup() as self._tasks:
            loops = [
                self._tasks.create_task(loop)
                for loop in (
                    self._campaign.run(),
                    self._renewals.run(),
                    self._pulses.run(),
                    self._vigil.run(),
                    self._signboard.run(),
                    self._crew.watch(),
                    self._examine(),
                    self._watch_worker(),
                    self._reassure(),
                )
            ]
            self._begin(Action.JOIN)
            try:
                await self._over.wait()
            finally:
                # Whatever broke: no worker without its guard, and nothing follows from its end.
                self._state.phase = Phase.STOPPED
                self._crew.kill()
                self._renewals.close()
                for loop in loops:
                    loop.cancel()
        if error := self._bug or self._state.failure:
            raise error

    def stop(self) -> None:
        """Hand over if there is something to hand over, then stop; asked again: at once."""
        wishes = self._state.wishes
        wishes.halting = wishes.stopping
        wishes.stopping = True
        wishes.why = "the manager stops"
        self._notifier.say("STOPPING=1")
        self._tell(self._wish())

    # -- the machine ------------------------------------------------------------------------------

    def _on(self, event: Event) -> None:
        """Something happened: change the phase and begin what follows from it."""
        state = self._state
        before = state.phase
        state.phase, action = step(before, event)
        if action is Action.EXTEND:
            self._deeds.extend()
        elif action is not None:
            self._begin(action)
        if state.phase is not before:
            self._entered(before, event)
        if state.wishes.stopping and state.phase in WAITING:
            self._on(self._wish())
        elif state.phase is Phase.STANDBY and self._fitness.trouble:
            self._on(Event.UNFIT)

    def _tell(self, event: Event) -> None:
        """As ``_on``, from a callback of the event loop: that would log a bug and go on."""
        try:
            self._on(event)
        except Exception as error:  # noqa: BLE001 - raised by ``run``, which ends this process
            self._bug = error
            self._over.set()

    def _begin(self, action: Action) -> None:
        replaced = self._deed
        self._deed = self._tasks.create_task(self._do(action))
        # A deed that ends with an event is itself the one being replaced, and done anyway.
        if replaced is not None and replaced is not asyncio.current_task():
            replaced.cancel()

    async def _do(self, action: Action) -> None:
        event = await self._deeds.do(action)
        if event is not None:
            self._on(event)
        elif action is Action.REVOKE:
            self._over.set()

    def _wish(self) -> Event:
        return Event.HALT if self._state.wishes.halting else Event.STOP

    def _entered(self, before: Phase, event: Event) -> None:
        phase, term = self._state.phase, self._state.term
        self._state.entered_s = self._given.clock.now()
        self._renewals.set_alarm()
        self._campaign.news.set()
        self._signboard.stale.set()
        if phase is Phase.STARTING:
            self._state.wishes.successor = ""
            self._state.unable = False
            self._renewals.now.set()
            self._pulses.now.set()
        fields = {"phase": phase.name, "before": before.name, "because": event.name}
        # An active that may not answer is what somebody who greps for warnings looks for.
        level = logging.WARNING if phase is Phase.SUSPENDED else logging.INFO
        extra = fields | ({"term": term.office.term} if term else {})
        log.log(level, "phase changed", extra=extra)
        note = self._note()
        if note:
            log.error("not fit to lead", extra={"why": note})
        self._crew.tell(Standing(phase=phase.name.lower(), note=note))
        self._notifier.say(f"STATUS={phase.name.lower()} {note}".rstrip())
        if phase in {Phase.STANDBY, Phase.BLOCKED}:
            self._notifier.say("READY=1")

    # -- the store's identity ---------------------------------------------------------------------

    def _note(self) -> str:
        """Why this manager does not lead or is suspended, for operators."""
        return self._fitness.trouble if self._state.phase in NOTED else ""

    def _judge_store(self) -> None:
        """Act on what has become known of the store: it was restored, or cannot be used."""
        identity, phase = self._fitness.identity, self._state.phase
        if identity.restores != self._restores:
            self._restores = identity.restores
            if self._state.provable is not None:
                # What the worker knows is not what is in etcd any more.
                self._tell(Event.LOST)
        if phase is Phase.STANDBY and self._fitness.trouble:
            self._tell(Event.UNFIT)
        elif phase is Phase.BLOCKED and not self._fitness.trouble:
            self._tell(Event.FIT)
        elif phase in NOTED:
            self._crew.tell(Standing(phase=phase.name.lower(), note=self._note()))

    # -- the worker -------------------------------------------------------------------------------

    def _gone(self) -> None:
        self._tell(Event.GONE)

    def _said(self, message: FromWorker) -> None:
        match message:
            case Modules():
                self._signboard.stale.set()
            case ActsOutside(term=of) if (term := self._state.term) and of == term.office.term:
                self._deeds.limit()
            case Unable(why=why):
                self._give_up(why)
        event = self._meaning(message)
        if event is None:
            return
        try:
            self._on(event)
        except UnexpectedEventError as error:
            # The worker's word decides nothing out of its turn.
            log.error("the worker speaks out of turn", extra={"error": str(error)})  # noqa: TRY400

    def _give_up(self, why: str) -> None:
        """A worker cannot listen. At the first start somebody is there to mend a setting.

        Later it is an accident that may pass, and the next worker tries again.
        """
        if not self._crew.was_ready:
            self._state.failure = CannotListenError(why)
            self.stop()

    def _meaning(self, message: FromWorker) -> Event | None:
        taken, wishes = self._state.taken, self._state.wishes
        term = taken.office.term if taken is not None else None
        match message:
            case Ready():
                return Event.READY
            case Started(term=of) if of == term:
                return Event.STARTED
            case Drained(term=of, quiesced=quiesced) if of == term:
                return Event.DRAINED if quiesced else Event.OVERDUE
            case Fenced(term=of) if of == term:
                return Event.LOST
            case Resign(reason=reason, successor=successor):
                log.info("asked to resign", extra={"reason": reason, "successor": successor})
                wishes.successor = successor
                wishes.why = reason
                return Event.RESIGN
            case _:
                return None

    def _limited(self) -> None:
        """The kernel has the time limit of this term: its modules may act outside etcd."""
        term = self._state.term
        if term is not None and self._crew.acts_outside:
            self._crew.tell(TimeLimited(term=term.office.term))

    # -- what looks again and again ---------------------------------------------------------------

    async def _watch_worker(self) -> None:
        """Replace a worker that does not reach the store, or does not finish starting."""
        was_current = True
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            crew, now_s = self._crew, self._given.clock.now()
            answered_s = self._state.contact.answered_for_s(now_s)
            if crew.health.current is not was_current:
                was_current = crew.health.current
                # Others read in its presence whether this manager could lead.
                self._signboard.stale.set()
                self._campaign.news.set()
            term = self._state.term
            if term is None:
                if crew.worker is not None and crew.health.hopeless(answered_s):
                    self._blame_worker("does not reach the store")
                    crew.kill()
            elif crew.health.unable(answered_s):
                self._end_term("does not reach the store")
            elif self._state.phase is Phase.STARTING and now_s - term.won_s > self._start_s:
                self._end_term("does not finish starting")

    def _end_term(self, why: str) -> None:
        if (self._state.phase, Event.UNABLE) in TRANSITIONS:
            self._blame_worker(why)
            self._state.unable = True
            self._on(Event.UNABLE)

    def _blame_worker(self, why: str) -> None:
        behind_s = round(self._crew.health.behind_s, 3)
        log.error("the worker %s: killed", why, extra={"behind_s": behind_s})

    async def _examine(self) -> None:
        while True:
            await asyncio.sleep(EXAMINE_EVERY_S)
            # While this manager leads as well: what is found counts when it stands by again.
            with contextlib.suppress(StoreError):
                status = await self._given.store.status(timeout_s=self._session.timing.request_s)
                self._fitness.examine(status)
                if self._state.phase in {Phase.STANDBY, Phase.BLOCKED}:
                    self._on(Event.UNFIT if self._fitness.trouble else Event.FIT)

    async def _reassure(self) -> None:
        """Tell systemd, as often as it wants, that this loop turns."""
        while self._notifier.watchdog_every_s is not None:
            self._notifier.say("WATCHDOG=1")
            await asyncio.sleep(self._notifier.watchdog_every_s)
