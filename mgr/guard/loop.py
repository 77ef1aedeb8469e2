"""The guard: composition root of the parent process, and the loop of the state machine.

``_on_event`` is the only place where the phase changes. Everything else either raises an event or
runs the action that follows from one. ``run`` lists every task of this process. What each action
does is in ``mgr/guard/actions.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from mgr.clock import Clock
from mgr.election.eligibility import Eligibility
from mgr.election.machine import TRANSITIONS, WAITING, Action, Event, Phase, step
from mgr.election.session import LeaseSession
from mgr.election.timing import Timing
from mgr.errors import CannotListenError, InvalidSettingError, StoreError
from mgr.guard.actions import ActionRunner
from mgr.guard.campaign import Campaign
from mgr.guard.heartbeat import LeaderHeartbeat
from mgr.guard.identity import ProcessIdentity
from mgr.guard.leader_monitor import LeaderMonitor
from mgr.guard.notify_systemd import Notifier
from mgr.guard.post_mortem import PostMortem
from mgr.guard.presence import PresenceKey, PresenceUpdater, RecordBuilder
from mgr.guard.renewals import Renewals
from mgr.guard.state import GuardContext, Leadership, State
from mgr.guard.store_trouble import StoreTrouble
from mgr.guard.worker_supervisor import StartWorker, WorkerSupervisor, WorkerTimeouts
from mgr.link import (
    ActsOutside,
    AuditTrouble,
    CertificatesChanged,
    CheckCertificates,
    Drained,
    Fenced,
    FromWorker,
    ModulesChanged,
    PhaseChanged,
    Ready,
    Resign,
    Started,
    StartFailed,
    TimeLimited,
)
from mgr.settings import Settings
from mgr.state_machine import UnexpectedEventError
from mgr.store.api import Store
from mgr.store.identity import StoreIdentity

CHECK_ELIGIBILITY_EVERY_S: Final = 10.0
START_SLACK_S: Final = 15.0
"""How long starting a worker may take beyond the load limit of modules: for the interpreter, the
imports and the first listing of the store."""

EXTEND_START_S: Final = 60
"""How much longer systemd shall wait for a start, said again and again while etcd is away."""
WATCH_EVERY_S: Final = 0.5
"""Interval of checks whether the worker reaches the store."""
SUSPENDED: Final = frozenset({Phase.SUSPENDED_STARTING, Phase.SUSPENDED})
PHASES_WITH_NOTE: Final = SUSPENDED | {Phase.INELIGIBLE}
"""Phases for which ``status`` shows why this manager is not eligible or does not act."""
ACTING: Final = frozenset({Phase.STARTING, Phase.ACTIVE})
"""Phases in which a failed request is no reason to tell: the term is confirmed."""
LATE: Final = (
    "late: the term was not confirmed in time, though etcd refused nothing; was this host paused, "
    "or is it overloaded?"
)
"""The cause of a suspension without a failed request."""

log = logging.getLogger(__name__)


class Guard:
    """One manager, from joining the cluster until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        start_worker: StartWorker,
        me: ProcessIdentity,
        notifier: Notifier,
    ) -> None:
        """Construct manager ``settings.id``, process ``me``, with workers from ``start_worker``.

        Raises:
            InvalidSettingError: The lease is too short for its margins.

        """
        context = GuardContext(settings, store, clock, me)
        self._context = context
        self._notifier = notifier
        self._state = State(StoreTrouble(clock))
        self._state.trouble.on_changed = self._on_trouble_changed
        self._session = LeaseSession(store, clock, Timing.of_lease(settings.lease_ttl_s))
        self._presence_key = PresenceKey(context, self._session)
        self._renewals = Renewals(
            context, self._state, self._session, self._presence_key, self._on_event_in_callback
        )
        self._start_s = settings.module_load_s + START_SLACK_S
        self._supervisor = self._make_supervisor(start_worker)
        self.post_mortem = PostMortem(context)
        self._supervisor.examine = self.post_mortem.examine
        records = RecordBuilder(context, self._state, self._session, self._supervisor)
        self._presence_updater = PresenceUpdater(
            records, self._presence_key, self._state, self._on_event
        )
        self._eligibility = _eligibility(settings, me.version)
        self._campaign = Campaign(
            context, self._state, self._session, records.leader, self._eligibility, self._on_event
        )
        self._campaign.worker_reaches_store = lambda: self._supervisor.health.current
        self._leader_heartbeat = self._make_heartbeat()
        self._leader_monitor = LeaderMonitor(
            context, self._state, self._campaign.candidate.leader, self._campaign.wake
        )
        self._action_runner = ActionRunner(
            context,
            self._state,
            self._session,
            self._presence_key,
            self._eligibility,
            self._supervisor,
            records.presence,
            self.post_mortem.operations,
        )
        self._action_task: asyncio.Task[None] | None = None
        self._restores = 0
        self._finished = asyncio.Event()
        self._bug: Exception | None = None

    def _make_supervisor(self, start_worker: StartWorker) -> WorkerSupervisor:
        timeouts = WorkerTimeouts(
            watchdog_s=self._context.settings.watchdog_s,
            start_s=self._start_s,
            store_silent=self._renewals.store_silent,
        )
        return WorkerSupervisor(
            start_worker,
            self._context.clock,
            timeouts,
            self._on_message,
            self._on_worker_exit,
            self._on_time_limit_set,
        )

    def _make_heartbeat(self) -> LeaderHeartbeat:
        return LeaderHeartbeat(
            self._context,
            self._state,
            alive=self._supervisor.alive,
            on_confirmed=self._renewals.set_alarm,
            forget_lease=self._session.forget,
            on_event=self._on_event,
        )

    def use_identity(self, identity: StoreIdentity) -> None:
        """Check the store against ``identity``. To be called before ``run``."""
        self._eligibility.identity = identity
        self._restores = identity.restores
        identity.subscribe(self._on_store_identity_changed)

    @property
    def phase(self) -> Phase:
        """The phase of this manager in the election."""
        return self._state.phase

    @property
    def leadership(self) -> Leadership | None:
        """The leadership held; None in a phase without leadership."""
        return self._state.leadership

    async def run(self) -> None:
        """Run the manager until it is stopped.

        Raises:
            NameTakenError: Another live manager has this name; nothing was changed.
            CannotListenError: The port of the first worker was taken.

        """
        async with asyncio.TaskGroup() as self._tasks:
            loops = [
                self._tasks.create_task(loop)
                for loop in (
                    self._campaign.run(),
                    self._renewals.run(),
                    self._leader_heartbeat.run(),
                    self._leader_monitor.run(),
                    self._presence_updater.run(),
                    self._supervisor.watch(),
                    self._check_eligibility(),
                    self._watch_worker(),
                    self._notify_watchdog(),
                    self.post_mortem.run(),
                )
            ]
            self._start_action(Action.JOIN)
            try:
                await self._finished.wait()
            finally:
                # Also after an error: no worker may outlive its guard. STOPPED first, so that the
                # exit of the worker causes no further action.
                self._state.phase = Phase.STOPPED
                self._supervisor.kill()
                self._renewals.close()
                for loop in loops:
                    loop.cancel()
        if error := self._bug or self._state.failure:
            raise error

    def check_certificates(self) -> None:
        """Let the worker read its certificate files again."""
        self._supervisor.send(CheckCertificates())

    def stop(self, signal: str = "") -> None:
        """Stop, after a hand-over if this manager leads. A second call stops at once.

        ``signal`` is the name of the signal that requests it, if one does.
        """
        requests = self._state.requests
        requests.stop_now = requests.stopping
        requests.stopping = True
        requests.reason = "the manager stops"
        requests.asked_by = signal
        self._notifier.notify("STOPPING=1")
        self._on_event_in_callback(self._stop_event())

    # -- the machine ------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        """Change the phase as the state machine says, and start the action that follows."""
        state = self._state
        before = state.phase
        state.overdue |= event is Event.OVERDUE
        state.phase, action = step(before, event)
        if action is Action.EXTEND:
            self._action_runner.extend_deadline()
        elif action is not None:
            self._start_action(action)
        if state.phase is not before:
            self._on_phase_changed(before, event)
        if state.requests.stopping and state.phase in WAITING:
            self._on_event(self._stop_event())
        elif state.phase is Phase.STANDBY and self._eligibility.reason:
            self._on_event(Event.INELIGIBLE)

    def _on_event_in_callback(self, event: Event) -> None:
        """Call ``_on_event`` from a callback of the event loop.

        The loop would only log an exception, that is a bug, and go on; here it ends ``run``.
        """
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - raised by ``run``, which ends this process
            self._bug = error
            self._finished.set()

    def _start_action(self, action: Action) -> None:
        replaced = self._action_task
        self._action_task = self._tasks.create_task(self._run_action(action))
        # An action that ends with an event calls this from its own task: it has ended already.
        if replaced is not None and replaced is not asyncio.current_task():
            replaced.cancel()

    async def _run_action(self, action: Action) -> None:
        event = await self._action_runner.run(action)
        if event is not None:
            self._on_event(event)
        elif action is Action.REVOKE:
            self._finished.set()

    def _stop_event(self) -> Event:
        return Event.STOP_NOW if self._state.requests.stop_now else Event.STOP

    def _on_phase_changed(self, before: Phase, event: Event) -> None:
        phase, leadership = self._state.phase, self._state.leadership
        self._state.phase_entered_s = self._context.clock.now()
        self._renewals.set_alarm()
        self._campaign.wake.set()
        self._presence_updater.stale.set()
        if phase is Phase.STARTING:
            self._state.requests.successor = ""
            if not self._state.requests.stopping:
                self._state.requests.reason = self._state.requests.asked_by = ""
            self._state.unable = self._state.overdue = False
            self._renewals.wake.set()
            self._leader_heartbeat.wake.set()
        fields = {"phase": phase.name, "before": before.name, "because": event.name}
        # A warning, because an active that is suspended answers no command.
        level = logging.WARNING if phase is Phase.SUSPENDED else logging.INFO
        note = self._note()
        extra = fields | ({"term": leadership.term} if leadership else {})
        log.log(
            level,
            "phase changed",
            extra=extra | ({"why": note} if phase in SUSPENDED else {}),
        )
        if phase in PHASES_WITH_NOTE and self._eligibility.reason:
            log.error("not eligible to lead", extra={"why": self._eligibility.reason})
        self._supervisor.send(PhaseChanged(phase=phase.name.lower(), note=note))
        self._notifier.notify(f"STATUS={phase.name.lower()} {note}".rstrip())
        if phase in {Phase.STANDBY, Phase.INELIGIBLE}:
            self._notifier.notify("READY=1")

    # -- the store's identity ---------------------------------------------------------------------

    def _note(self) -> str:
        """Why this manager is not eligible, is suspended or cannot lead, for operators."""
        phase, cause = self._state.phase, self._state.trouble.cause
        if phase in PHASES_WITH_NOTE and self._eligibility.reason:
            return self._eligibility.reason
        if phase in ACTING:
            return ""
        if cause is not None:
            return cause.text
        return LATE if phase in SUSPENDED else ""

    def _on_trouble_changed(self) -> None:
        """Pass on another cause while it keeps this manager from acting."""
        phase = self._state.phase
        if phase in ACTING:
            return
        note = self._note()
        if self._state.trouble.cause is None:
            log.info("etcd answers again", extra={"phase": phase.name})
        else:
            fields = {"phase": phase.name, "why": note, "error": self._state.trouble.error}
            # A standby is none the worse for one late answer; an active that is suspended is.
            level = logging.WARNING if phase in SUSPENDED else logging.INFO
            log.log(level, "etcd does not confirm", extra=fields)
        self._supervisor.send(PhaseChanged(phase=phase.name.lower(), note=note))
        self._notifier.notify(f"STATUS={phase.name.lower()} {note}".rstrip())

    def _on_store_identity_changed(self) -> None:
        """React to a changed identity of the store: it was restored, or must not be used."""
        identity, phase = self._eligibility.identity, self._state.phase
        if identity.restores != self._restores:
            self._restores = identity.restores
            if self._state.confirmable is not None:
                # The worker's copy of the data is not what is in etcd any more.
                self._on_event_in_callback(Event.LOST)
        if phase is Phase.STANDBY and self._eligibility.reason:
            self._on_event_in_callback(Event.INELIGIBLE)
        elif phase is Phase.INELIGIBLE and not self._eligibility.reason:
            self._on_event_in_callback(Event.ELIGIBLE)
        elif phase in PHASES_WITH_NOTE:
            self._supervisor.send(PhaseChanged(phase=phase.name.lower(), note=self._note()))

    # -- the worker -------------------------------------------------------------------------------

    def _on_worker_exit(self) -> None:
        self._on_event_in_callback(Event.WORKER_EXITED)

    def _on_message(self, message: FromWorker) -> None:
        match message:
            case ModulesChanged() | AuditTrouble() | CertificatesChanged():
                self._presence_updater.stale.set()
            case ActsOutside(term=of) if (
                leadership := self._state.leadership
            ) and of == leadership.term:
                self._action_runner.set_kill_timer()
            case StartFailed():
                self._on_start_failed(message)
        event = self._event_of(message)
        if event is None:
            return
        try:
            self._on_event(event)
        except UnexpectedEventError as error:
            # A message that does not fit the phase is logged and changes nothing: a faulty worker
            # must not crash its guard.
            log.error("unexpected message from worker", extra={"error": str(error)})  # noqa: TRY400

    def _on_start_failed(self, failed: StartFailed) -> None:
        """Stop the manager if its first worker cannot serve: a setting has to be corrected.

        A later worker may fail for a reason that passes; the next one tries again.
        """
        if not self._supervisor.was_ready:
            kind = InvalidSettingError if failed.invalid else CannotListenError
            self._state.failure = kind(failed.why)
            self.stop()

    def _event_of(self, message: FromWorker) -> Event | None:
        last, requests = self._state.last_leadership, self._state.requests
        term = last.term if last is not None else None
        match message:
            case Ready():
                return Event.READY
            case Started(term=of) if of == term:
                return Event.STARTED
            case Drained(term=of, quiesced=quiesced) if of == term:
                return Event.DRAINED if quiesced else Event.OVERDUE
            case Fenced(term=of) if of == term:
                return Event.LOST
            case Resign(reason=reason, successor=successor, asked_by=asked_by):
                log.info(
                    "leadership hand-over requested",
                    extra={"reason": reason, "successor": successor, "asked_by": asked_by},
                )
                requests.successor = successor
                requests.reason, requests.asked_by = reason, asked_by
                return Event.RESIGN
            case _:
                return None

    def _on_time_limit_set(self) -> None:
        """Allow the worker to start modules that act outside etcd: its kill timer is set."""
        leadership = self._state.leadership
        if leadership is not None and self._supervisor.acts_outside:
            self._supervisor.send(TimeLimited(term=leadership.term))

    # -- periodic checks --------------------------------------------------------------------------

    async def _watch_worker(self) -> None:
        """Replace a worker that does not reach the store, or does not finish starting."""
        was_current = True
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            supervisor, now_s = self._supervisor, self._context.clock.now()
            answered_s = self._state.contact.answered_for_s(now_s)
            if supervisor.health.current is not was_current:
                was_current = supervisor.health.current
                # Its presence record shows the other managers whether this one could lead.
                self._presence_updater.stale.set()
                self._campaign.wake.set()
            leadership = self._state.leadership
            if leadership is None:
                if supervisor.worker is not None and supervisor.health.needs_restart(answered_s):
                    self._log_worker_fault("does not reach the store")
                    supervisor.kill()
            elif supervisor.health.unable(answered_s):
                self._end_term("does not reach the store")
            elif (
                self._state.phase is Phase.STARTING
                and now_s - leadership.acquired_s > self._start_s
            ):
                self._end_term("does not finish starting")

    def _end_term(self, why: str) -> None:
        if (self._state.phase, Event.UNABLE) in TRANSITIONS:
            self._log_worker_fault(why)
            self._state.unable = True
            self._on_event(Event.UNABLE)

    def _log_worker_fault(self, why: str) -> None:
        behind_s = round(self._supervisor.health.behind_s, 3)
        log.error("worker killed by its guard", extra={"why": why, "behind_s": behind_s})

    async def _check_eligibility(self) -> None:
        while True:
            await asyncio.sleep(CHECK_ELIGIBILITY_EVERY_S)
            # Also while this manager leads: the result counts when it is a standby again.
            with contextlib.suppress(StoreError):
                status = await self._context.store.status(timeout_s=self._session.timing.request_s)
                self._eligibility.check_store(status)
                if self._state.phase in {Phase.STANDBY, Phase.INELIGIBLE}:
                    self._on_event(Event.INELIGIBLE if self._eligibility.reason else Event.ELIGIBLE)

    async def _notify_watchdog(self) -> None:
        """Notify systemd's watchdog periodically, which shows that this event loop runs.

        While etcd does not answer a start takes longer: systemd must not take that for a failure.
        """
        while self._notifier.watchdog_every_s is not None:
            self._notifier.notify("WATCHDOG=1")
            if self._state.phase is Phase.JOINING and self._renewals.store_silent():
                self._notifier.notify(f"EXTEND_TIMEOUT_USEC={EXTEND_START_S * 1_000_000}")
            await asyncio.sleep(self._notifier.watchdog_every_s)


def _eligibility(settings: Settings, version: str) -> Eligibility:
    return Eligibility(
        version,
        untrusted=settings.etcd_untrusted,
        downgrade=settings.downgrade,
        authenticates=bool(settings.tls_ca),
    )
