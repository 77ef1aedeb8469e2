"""The election state machine: the phases of a manager, and the events that change them.

Rule 1: every change of phase is decided in this file.
Rule 2: this file does no I/O, reads no clock and starts no task. ``step`` takes the present phase
and an event, and returns the next phase and at most one action to run.

How a standby detects that the leader is gone is in ``mgr/guard/leader_monitor.py``.

Theory of operation
-------------------
A manager joins the cluster (it acquires a lease and claims its name), starts a worker, waits as a
standby, and leads once it holds the leader key. Leading has two phases, because modules take
seconds to construct: STARTING (leads, queues commands) and ACTIVE (runs commands). The term is the
create revision of the leader key.

If the term is not confirmed before its deadline, the active is SUSPENDED: it starts no command and
has no effects outside etcd, but keeps its modules. A confirmation of the *same* term resumes it.
Only a definite loss (the key is gone or belongs to another term, or the lease is gone) ends the
term from outside.

A worker that has led never becomes a standby again: the threads of its modules cannot be killed one
by one. There are two ways to end a term, and both end with the exit of that worker:

- orderly: DRAINING (finish running commands, stop the modules), HANDING_OVER (nothing of the term
  runs any more: release the leader key), EXITING_AFTER_HANDOVER (answer queued calls with the
  successor's address, then exit);
- by force: KILLING_WORKER (kill and reap), RELEASING (release the leader key).

**Kill before release.** RELEASE follows only WORKER_EXITED (the worker and everything it started is
dead and reaped) or DRAINED (the worker reported that nothing of the term runs any more). Otherwise
a successor could begin while the last effect of this term is still under way. The term record,
written in the transaction that releases the key, certifies that end and must be true.

Both ways lead to JOINING, which usually finds the lease and the name still held. A requested stop
is repeated as STOP in every phase before leadership (``Guard._on_event``), until it takes effect.
STOP_NOW is the same without waiting for anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final, NamedTuple

from mgr.state_machine import StateMachine


class Phase(Enum):
    """The state of this manager in the election."""

    JOINING = auto()
    """Acquires a lease and claims its name; may hold neither."""
    WARMING = auto()
    """Joined; its worker is starting, or waits to be started after too many crashes."""
    STANDBY = auto()
    """Warm standby; campaigns whenever there is no leader."""
    INELIGIBLE = auto()
    """Warm standby that must not lead, for instance because its etcd version is not trusted."""
    STARTING = auto()
    """Holds the leader key; its modules are being constructed."""
    ACTIVE = auto()
    """Leads and runs commands."""
    SUSPENDED_STARTING = auto()
    """Suspended while its modules were still being constructed."""
    SUSPENDED = auto()
    """The deadline passed without a confirmation: does not act, keeps its modules, may resume."""
    DRAINING = auto()
    """Finishes running commands and stops its modules, to hand over."""
    HANDING_OVER = auto()
    """Drained; the leader key is being released."""
    EXITING_AFTER_HANDOVER = auto()
    """The leader key is released; the worker answers queued calls and exits."""
    KILLING_WORKER = auto()
    """Its worker is being killed; it still holds the leader key."""
    RELEASING = auto()
    """Its worker is dead; the leader key is being released."""
    STOPPING = auto()
    """The manager stops; its worker, which never led or has handed over, is being ended."""
    STOPPED = auto()
    """The manager has stopped; its lease is revoked."""


class Event(Enum):
    """What can happen, and who raises it (classes are in ``mgr.guard``)."""

    JOINED = auto()
    """This manager holds its lease and its name. Raised by ``ActionRunner``, after JOIN."""
    NAME_TAKEN = auto()
    """Another live manager has this name. Raised by ``ActionRunner``, after JOIN."""
    READY = auto()
    """The worker is a warm standby. Raised by the worker's message ``Ready``, or by
    ``ActionRunner`` after START_WORKER if a warm worker was there already."""
    WORKER_EXITED = auto()
    """There is no worker: it and everything it started is dead, or there was none. Raised by
    ``WorkerSupervisor`` when the worker exits, and by ``ActionRunner`` if there is none to end."""
    INELIGIBLE = auto()
    """This manager must not lead. Raised by ``Guard`` (periodic check of the etcd version, changed
    identity of the etcd cluster) and by ``Campaign`` (version of the last leader)."""
    ELIGIBLE = auto()
    """This manager may lead again. Raised by the same as INELIGIBLE."""
    WON = auto()
    """This manager has acquired the leader key. Raised by ``Campaign``."""
    STARTED = auto()
    """The modules are constructed, or their time is up. Raised by the worker's ``Started``."""
    TERM_CONFIRMED = auto()
    """The term was confirmed and its deadline moved. Raised by ``LeaderHeartbeat`` after each
    successful heartbeat; by ``Renewals`` if the profile has no heartbeats."""
    DEADLINE = auto()
    """The deadline passed without a confirmation. Raised by the alarm of ``Renewals``."""
    LOST = auto()
    """The lease, or the key that the phase depends on, is definitely lost. Raised by ``Renewals``,
    ``LeaderHeartbeat``, ``Campaign``, ``PresenceUpdater`` and ``ActionRunner`` when an answer of
    the store shows it, by the worker's message ``Fenced``, and by ``Guard`` if etcd was restored.
    """
    UNABLE = auto()
    """The worker does not reach the store although its guard does, or does not finish starting.
    Raised by ``Guard``, which checks the worker periodically."""
    RESIGN = auto()
    """An operator requested a hand-over. Raised by the worker's message ``Resign``."""
    STOP = auto()
    """An operator requested an orderly stop. Raised by ``Guard.stop`` (SIGTERM, SIGINT, or a first
    worker that cannot listen), and by ``Guard`` again in every phase before leadership."""
    STOP_NOW = auto()
    """The stop was requested a second time: at once. Raised like STOP."""
    DRAINED = auto()
    """Nothing of the term runs any more. Raised by the worker's ``Drained``, or by
    ``ActionRunner`` if nothing was started."""
    OVERDUE = auto()
    """The drain failed or took too long. Raised by the worker's ``Drained`` if a module did not
    stop, or by ``ActionRunner`` when the time for DRAIN is over."""
    RELEASED = auto()
    """The leader key is certainly not held any more: released, or lost. Raised by
    ``ActionRunner``, after RELEASE."""
    RELEASE_GIVEN_UP = auto()
    """The manager stops and the store did not answer: the lease has to expire. Raised by
    ``ActionRunner``, after RELEASE."""


class Action(Enum):
    """What the guard does next; ``mgr.guard.actions.ActionRunner`` runs it.

    A new action cancels the one under way, so that never two run at once. EXTEND is the exception:
    it only sends a message and cancels nothing.
    """

    JOIN = auto()
    """Acquire the lease and the name, or check that they are held; then JOINED or NAME_TAKEN."""
    START_WORKER = auto()
    """Ensure that there is a worker that never led, after a pause if too many crashed; READY."""
    PROMOTE = auto()
    """Open the term record, then promote the worker; STARTED follows from the worker."""
    EXTEND = auto()
    """Send the worker its new deadline."""
    DRAIN = auto()
    """Nominate the successor, send the worker ``Drain``; DRAINED or OVERDUE."""
    RELEASE = auto()
    """Delete the leader key and write the term record in one transaction; RELEASED."""
    EXIT_AFTER_HANDOVER = auto()
    """Inform the worker that leadership is released, kill it if it is late; WORKER_EXITED."""
    SHUT_DOWN = auto()
    """Order the worker to exit, kill it if it is late; WORKER_EXITED."""
    KILL = auto()
    """Kill the worker and everything it started, now; WORKER_EXITED."""
    REVOKE = auto()
    """Revoke the lease, which deletes every key attached to it."""


class Step(NamedTuple):
    """The result of one event: the next phase and at most one action."""

    phase: Phase
    action: Action | None = None


_P, _E, _A = Phase, Event, Action

TRANSITIONS: Final[Mapping[tuple[Phase, Event], Step]] = MappingProxyType(
    {
        (_P.JOINING, _E.JOINED): Step(_P.WARMING, _A.START_WORKER),
        (_P.JOINING, _E.NAME_TAKEN): Step(_P.STOPPING, _A.SHUT_DOWN),
        (_P.JOINING, _E.LOST): Step(_P.JOINING, _A.JOIN),
        (_P.JOINING, _E.WON): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.JOINING, _E.STOP): Step(_P.STOPPING, _A.SHUT_DOWN),
        (_P.JOINING, _E.STOP_NOW): Step(_P.STOPPING, _A.KILL),
        (_P.WARMING, _E.READY): Step(_P.STANDBY),
        (_P.WARMING, _E.WORKER_EXITED): Step(_P.WARMING, _A.START_WORKER),
        (_P.WARMING, _E.LOST): Step(_P.JOINING, _A.JOIN),
        (_P.WARMING, _E.WON): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.WARMING, _E.STOP): Step(_P.STOPPING, _A.SHUT_DOWN),
        (_P.WARMING, _E.STOP_NOW): Step(_P.STOPPING, _A.KILL),
        (_P.STANDBY, _E.WON): Step(_P.STARTING, _A.PROMOTE),
        (_P.STANDBY, _E.INELIGIBLE): Step(_P.INELIGIBLE),
        (_P.STANDBY, _E.WORKER_EXITED): Step(_P.WARMING, _A.START_WORKER),
        (_P.STANDBY, _E.LOST): Step(_P.JOINING, _A.JOIN),
        (_P.STANDBY, _E.STOP): Step(_P.STOPPING, _A.SHUT_DOWN),
        (_P.STANDBY, _E.STOP_NOW): Step(_P.STOPPING, _A.KILL),
        (_P.INELIGIBLE, _E.ELIGIBLE): Step(_P.STANDBY),
        (_P.INELIGIBLE, _E.WON): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.INELIGIBLE, _E.WORKER_EXITED): Step(_P.WARMING, _A.START_WORKER),
        (_P.INELIGIBLE, _E.LOST): Step(_P.JOINING, _A.JOIN),
        (_P.INELIGIBLE, _E.STOP): Step(_P.STOPPING, _A.SHUT_DOWN),
        (_P.INELIGIBLE, _E.STOP_NOW): Step(_P.STOPPING, _A.KILL),
        (_P.STARTING, _E.STARTED): Step(_P.ACTIVE),
        (_P.STARTING, _E.TERM_CONFIRMED): Step(_P.STARTING, _A.EXTEND),
        (_P.STARTING, _E.DEADLINE): Step(_P.SUSPENDED_STARTING),
        (_P.STARTING, _E.LOST): Step(_P.KILLING_WORKER, _A.SHUT_DOWN),
        (_P.STARTING, _E.UNABLE): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.STARTING, _E.WORKER_EXITED): Step(_P.RELEASING, _A.RELEASE),
        (_P.STARTING, _E.RESIGN): Step(_P.DRAINING, _A.DRAIN),
        (_P.STARTING, _E.STOP): Step(_P.DRAINING, _A.DRAIN),
        (_P.STARTING, _E.STOP_NOW): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.ACTIVE, _E.TERM_CONFIRMED): Step(_P.ACTIVE, _A.EXTEND),
        (_P.ACTIVE, _E.DEADLINE): Step(_P.SUSPENDED),
        (_P.ACTIVE, _E.LOST): Step(_P.KILLING_WORKER, _A.SHUT_DOWN),
        (_P.ACTIVE, _E.UNABLE): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.ACTIVE, _E.WORKER_EXITED): Step(_P.RELEASING, _A.RELEASE),
        (_P.ACTIVE, _E.RESIGN): Step(_P.DRAINING, _A.DRAIN),
        (_P.ACTIVE, _E.STOP): Step(_P.DRAINING, _A.DRAIN),
        (_P.ACTIVE, _E.STOP_NOW): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.SUSPENDED_STARTING, _E.TERM_CONFIRMED): Step(_P.STARTING, _A.EXTEND),
        (_P.SUSPENDED_STARTING, _E.STARTED): Step(_P.SUSPENDED),
        (_P.SUSPENDED_STARTING, _E.LOST): Step(_P.KILLING_WORKER, _A.SHUT_DOWN),
        (_P.SUSPENDED_STARTING, _E.WORKER_EXITED): Step(_P.RELEASING, _A.RELEASE),
        # No time for a drain is left: the term is not confirmed, so nothing may run on.
        (_P.SUSPENDED_STARTING, _E.RESIGN): Step(_P.KILLING_WORKER, _A.SHUT_DOWN),
        (_P.SUSPENDED_STARTING, _E.STOP): Step(_P.KILLING_WORKER, _A.SHUT_DOWN),
        (_P.SUSPENDED_STARTING, _E.STOP_NOW): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.SUSPENDED, _E.TERM_CONFIRMED): Step(_P.ACTIVE, _A.EXTEND),
        (_P.SUSPENDED, _E.LOST): Step(_P.KILLING_WORKER, _A.SHUT_DOWN),
        (_P.SUSPENDED, _E.WORKER_EXITED): Step(_P.RELEASING, _A.RELEASE),
        (_P.SUSPENDED, _E.RESIGN): Step(_P.KILLING_WORKER, _A.SHUT_DOWN),
        (_P.SUSPENDED, _E.STOP): Step(_P.KILLING_WORKER, _A.SHUT_DOWN),
        (_P.SUSPENDED, _E.STOP_NOW): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.DRAINING, _E.TERM_CONFIRMED): Step(_P.DRAINING, _A.EXTEND),
        (_P.DRAINING, _E.DRAINED): Step(_P.HANDING_OVER, _A.RELEASE),
        (_P.DRAINING, _E.OVERDUE): Step(_P.KILLING_WORKER, _A.KILL),
        # Commands that still run may act outside the store, and the deadline has passed.
        (_P.DRAINING, _E.DEADLINE): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.DRAINING, _E.LOST): Step(_P.KILLING_WORKER, _A.SHUT_DOWN),
        (_P.DRAINING, _E.UNABLE): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.DRAINING, _E.WORKER_EXITED): Step(_P.RELEASING, _A.RELEASE),
        (_P.DRAINING, _E.STOP_NOW): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.HANDING_OVER, _E.RELEASED): Step(_P.EXITING_AFTER_HANDOVER, _A.EXIT_AFTER_HANDOVER),
        (_P.HANDING_OVER, _E.WORKER_EXITED): Step(_P.RELEASING, _A.RELEASE),
        (_P.HANDING_OVER, _E.RELEASE_GIVEN_UP): Step(_P.STOPPING, _A.SHUT_DOWN),
        (_P.HANDING_OVER, _E.STOP_NOW): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.EXITING_AFTER_HANDOVER, _E.WORKER_EXITED): Step(_P.JOINING, _A.JOIN),
        (_P.EXITING_AFTER_HANDOVER, _E.STOP_NOW): Step(_P.STOPPING, _A.KILL),
        (_P.KILLING_WORKER, _E.WORKER_EXITED): Step(_P.RELEASING, _A.RELEASE),
        (_P.KILLING_WORKER, _E.STOP_NOW): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.RELEASING, _E.RELEASED): Step(_P.JOINING, _A.JOIN),
        (_P.RELEASING, _E.RELEASE_GIVEN_UP): Step(_P.STOPPED, _A.REVOKE),
        (_P.STOPPING, _E.WORKER_EXITED): Step(_P.STOPPED, _A.REVOKE),
        (_P.STOPPING, _E.STOP_NOW): Step(_P.STOPPING, _A.KILL),
    }
)

LEADING: Final = frozenset(
    {_P.STARTING, _P.ACTIVE, _P.SUSPENDED_STARTING, _P.SUSPENDED, _P.DRAINING, _P.HANDING_OVER}
)
"""Phases in which a worker of the term lives and the leader key is held, as far as is known."""

WAITING: Final = frozenset({_P.JOINING, _P.WARMING, _P.STANDBY, _P.INELIGIBLE})
"""Phases before leadership: the worker, if there is one, has never led."""

CONFIRMABLE: Final = LEADING - {_P.HANDING_OVER}
"""Phases in which the term is confirmed periodically."""

_ENDED: Final = frozenset({_P.EXITING_AFTER_HANDOVER, _P.KILLING_WORKER, _P.RELEASING, _P.STOPPING})


def _ignored() -> set[tuple[Phase, Event]]:
    pairs = {
        # A hand-over requested from a manager that does not lead, or is about to stop leading.
        *((phase, _E.RESIGN) for phase in (WAITING | _ENDED | {_P.DRAINING, _P.HANDING_OVER})),
        # Requested again, or already ending: STOP is raised again in JOINING.
        *((phase, _E.STOP) for phase in _ENDED | {_P.DRAINING, _P.HANDING_OVER}),
        (_P.RELEASING, _E.STOP_NOW),
        # A renewal, or the timer of one, that was under way when the term or the phase ended.
        *((phase, _E.TERM_CONFIRMED) for phase in WAITING | _ENDED | {_P.HANDING_OVER}),
        *((phase, _E.DEADLINE) for phase in WAITING | _ENDED | {_P.HANDING_OVER}),
        (_P.SUSPENDED_STARTING, _E.DEADLINE),
        (_P.SUSPENDED, _E.DEADLINE),
        # About a worker that does not lead any more, or whose guard is cut off as well.
        *((phase, _E.UNABLE) for phase in Phase),
        # This manager's own release, delivered by the feed. The release itself finds a real loss.
        *((phase, _E.LOST) for phase in _ENDED | {_P.HANDING_OVER}),
        # A message of a worker that was ordered to end, or that lived before the present join.
        *((phase, _E.READY) for phase in (WAITING | _ENDED) - {_P.WARMING}),
        *((phase, _E.STARTED) for phase in _ENDED | {_P.DRAINING, _P.HANDING_OVER}),
        *((phase, _E.DRAINED) for phase in _ENDED),
        *((phase, _E.OVERDUE) for phase in _ENDED),
        # The worker crashed while a new lease was acquired: START_WORKER starts another one.
        (_P.JOINING, _E.WORKER_EXITED),
        # An attempt to campaign outlived its phase; revoking the lease deletes the key.
        (_P.STOPPING, _E.WON),
        # Eligibility was checked while the phase changed; it is checked again before a campaign.
        *((phase, event) for phase in Phase for event in (_E.ELIGIBLE, _E.INELIGIBLE)),
        # The manager has stopped; anything that was still under way is irrelevant.
        *((_P.STOPPED, event) for event in Event),
    }
    return pairs - TRANSITIONS.keys()


IGNORED: Final[frozenset[tuple[Phase, Event]]] = frozenset(_ignored())
"""Pairs that occur in a healthy run and change nothing. Any other pair is a bug."""

step: Final = StateMachine(TRANSITIONS, IGNORED, unchanged=Step).step
"""Return the next phase and the action for one event. Raises ``UnexpectedEventError``."""
