"""The election state machine: which part this manager plays, and why that changes.

Rule 1: everything that decides a change of phase stands in this file.
Rule 2: this file does no I/O, reads no clock and starts no task. It is told what happened and
answers with the next phase and the deeds to be done.

Theory of operation
-------------------
A manager joins (a lease, its name), warms a worker up, waits as a standby, and leads once it
holds the leader key. Leading has two halves, because modules take seconds to construct:
STARTING (leads, holds commands) and ACTIVE (serves). The term is the key's create revision.

Past its deadline without a proof the active is SUSPENDED: it admits nothing and acts on nothing
outside, but keeps its modules. A proof of the *same* term resumes it. Only a definite loss (the
key is gone or another one, the lease is gone) ends the term from outside.

A worker that has led never stands by again: its modules' threads cannot be killed one by one.
There are two ways out, and each ends with that worker's death:

- orderly: DRAINING (finish what runs, stop the modules), HANDING_OVER (nothing of the term runs
  any more: give the key back), EXITING_AFTER_HANDOVER (answer held calls with the successor's
  address, exit);
- by force: KILLING_WORKER (kill, reap), RELEASING (now give the key back).

**Kill before release.** RELEASE follows only WORKER_EXITED (the worker, and all that it started, is
dead and reaped) or DRAINED (nothing runs any more and the worker said so). Otherwise a successor
could begin while this one's last effect is still under way; the term record, written with the
release, certifies that end and must not lie.

Every way out leads to JOINING, which finds lease and name still there as a rule. STOP is a wish
that is told again in every phase it means something in, STOP_NOW is the same without patience.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final, NamedTuple

from mgr.state_machine import lookup


class Phase(Enum):
    """The part this manager plays."""

    JOINING = auto()
    """Takes a lease and its name; holds neither for certain."""
    WARMING = auto()
    """Known to the cluster; its worker is starting, or waits after too many crashes."""
    STANDBY = auto()
    """Warm; campaigns whenever nobody leads."""
    INELIGIBLE = auto()
    """Warm, but unfit to lead: the store cannot be trusted."""
    STARTING = auto()
    """Holds the key; its modules are being constructed."""
    ACTIVE = auto()
    """Serves."""
    SUSPENDED_STARTING = auto()
    """Suspended while its modules were still being constructed."""
    SUSPENDED = auto()
    """Past its deadline: neither leads by belief nor gives up; keeps its modules."""
    DRAINING = auto()
    """Finishes what runs and stops its modules, to hand over."""
    HANDING_OVER = auto()
    """Drained; the key is being given back."""
    EXITING_AFTER_HANDOVER = auto()
    """The key is given back; the worker answers held calls and exits."""
    KILLING_WORKER = auto()
    """Its worker is being killed; it still holds the key."""
    RELEASING = auto()
    """Its worker is dead; the key is being given back."""
    STOPPING = auto()
    """Stops; its worker, which never led or has handed over, is being ended."""
    STOPPED = auto()
    """Over; its lease is given back."""


class Event(Enum):
    """What can happen."""

    JOINED = auto()
    """Lease and name are ours."""
    NAME_TAKEN = auto()
    """Another live manager has this name."""
    READY = auto()
    """The worker is warm."""
    WORKER_EXITED = auto()
    """There is no worker: it is dead with all that it started, or there was none."""
    INELIGIBLE = auto()
    """The store cannot be trusted to lead on."""
    ELIGIBLE = auto()
    """It can again."""
    WON = auto()
    """We hold the leader key."""
    STARTED = auto()
    """The modules are constructed, or their time is up."""
    TERM_CONFIRMED = auto()
    """The lease was renewed and the term found unchanged."""
    DEADLINE = auto()
    """The last proof has run out."""
    LOST = auto()
    """Definitely lost: the lease, or the key the phase rests on."""
    UNABLE = auto()
    """The worker does not reach the store, which its guard does, or does not finish starting."""
    RESIGN = auto()
    """An operator wants another active."""
    STOP = auto()
    """An operator wants this manager to end in good order."""
    STOP_NOW = auto()
    """The same, at once."""
    DRAINED = auto()
    """Nothing of the term runs any more."""
    OVERDUE = auto()
    """The drain failed or took too long."""
    RELEASED = auto()
    """The key is certainly not ours any more, by our hand or another's."""
    RELEASE_GIVEN_UP = auto()
    """While stopping, the store did not answer: the lease will have to run out."""


class Action(Enum):
    """A deed. Each replaces the one under way, so that never two of them are.

    All but EXTEND, which is a word said in passing and disturbs nothing.
    """

    JOIN = auto()
    """Take lease and name, or see that they are there; then JOINED or NAME_TAKEN."""
    WARM = auto()
    """See that there is a clean worker, after a pause if too many crashed; then READY."""
    LEAD = auto()
    """Sign the term record, then tell the worker its term."""
    EXTEND = auto()
    """Tell the worker its new deadline."""
    DRAIN = auto()
    """Name the successor, tell the worker to drain; DRAINED or OVERDUE."""
    RELEASE = auto()
    """Delete the key and write the term record in one transaction; RELEASED."""
    EXIT_AFTER_HANDOVER = auto()
    """Tell the worker that the key is given back, wait, kill it if late; WORKER_EXITED."""
    SHUT_DOWN = auto()
    """Tell the worker to exit, kill it if late; WORKER_EXITED."""
    KILL = auto()
    """Kill the worker, and all that it started, now; WORKER_EXITED."""
    REVOKE = auto()
    """Give the lease back, and with it everything that hangs on it."""


class Step(NamedTuple):
    """The answer to one event: the next phase and at most one deed."""

    phase: Phase
    action: Action | None = None


_P, _E, _A = Phase, Event, Action

TRANSITIONS: Final[Mapping[tuple[Phase, Event], Step]] = MappingProxyType(
    {
        (_P.JOINING, _E.JOINED): Step(_P.WARMING, _A.WARM),
        (_P.JOINING, _E.NAME_TAKEN): Step(_P.STOPPING, _A.SHUT_DOWN),
        (_P.JOINING, _E.LOST): Step(_P.JOINING, _A.JOIN),
        (_P.JOINING, _E.WON): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.JOINING, _E.STOP): Step(_P.STOPPING, _A.SHUT_DOWN),
        (_P.JOINING, _E.STOP_NOW): Step(_P.STOPPING, _A.KILL),
        (_P.WARMING, _E.READY): Step(_P.STANDBY),
        (_P.WARMING, _E.WORKER_EXITED): Step(_P.WARMING, _A.WARM),
        (_P.WARMING, _E.LOST): Step(_P.JOINING, _A.JOIN),
        (_P.WARMING, _E.WON): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.WARMING, _E.STOP): Step(_P.STOPPING, _A.SHUT_DOWN),
        (_P.WARMING, _E.STOP_NOW): Step(_P.STOPPING, _A.KILL),
        (_P.STANDBY, _E.WON): Step(_P.STARTING, _A.LEAD),
        (_P.STANDBY, _E.INELIGIBLE): Step(_P.INELIGIBLE),
        (_P.STANDBY, _E.WORKER_EXITED): Step(_P.WARMING, _A.WARM),
        (_P.STANDBY, _E.LOST): Step(_P.JOINING, _A.JOIN),
        (_P.STANDBY, _E.STOP): Step(_P.STOPPING, _A.SHUT_DOWN),
        (_P.STANDBY, _E.STOP_NOW): Step(_P.STOPPING, _A.KILL),
        (_P.INELIGIBLE, _E.ELIGIBLE): Step(_P.STANDBY),
        (_P.INELIGIBLE, _E.WON): Step(_P.KILLING_WORKER, _A.KILL),
        (_P.INELIGIBLE, _E.WORKER_EXITED): Step(_P.WARMING, _A.WARM),
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
        # No budget for a drain is left: what still runs acts without a proof.
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
        # Commands that still run may act outside the store, and the proof has run out.
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
"""Phases in which a worker of the term lives and the key is held, as far as anybody knows."""

WAITING: Final = frozenset({_P.JOINING, _P.WARMING, _P.STANDBY, _P.INELIGIBLE})
"""Phases before an office: the worker, if there is one, has never led."""

CONFIRMABLE: Final = LEADING - {_P.HANDING_OVER}
"""Phases whose term is proven again and again."""

_ENDED: Final = frozenset({_P.EXITING_AFTER_HANDOVER, _P.KILLING_WORKER, _P.RELEASING, _P.STOPPING})


def _ignored() -> set[tuple[Phase, Event]]:
    pairs = {
        # Asked of somebody who holds no office, or is about to have none.
        *((phase, _E.RESIGN) for phase in (WAITING | _ENDED | {_P.DRAINING, _P.HANDING_OVER})),
        # Asked again, or on the way out anyway: the wish is told again in JOINING.
        *((phase, _E.STOP) for phase in _ENDED | {_P.DRAINING, _P.HANDING_OVER}),
        (_P.RELEASING, _E.STOP_NOW),
        # A renewal, or the timer of one, that was under way when the term or the phase ended.
        *((phase, _E.TERM_CONFIRMED) for phase in WAITING | _ENDED | {_P.HANDING_OVER}),
        *((phase, _E.DEADLINE) for phase in WAITING | _ENDED | {_P.HANDING_OVER}),
        (_P.SUSPENDED_STARTING, _E.DEADLINE),
        (_P.SUSPENDED, _E.DEADLINE),
        # Judged of a worker that leads no more, or of one whose guard is cut off as well.
        *((phase, _E.UNABLE) for phase in Phase),
        # Our own release, seen in the feed; a real loss is found by the release itself.
        *((phase, _E.LOST) for phase in _ENDED | {_P.HANDING_OVER}),
        # A word of a worker that was told to end, or that was taken over from an earlier join.
        *((phase, _E.READY) for phase in (WAITING | _ENDED) - {_P.WARMING}),
        *((phase, _E.STARTED) for phase in _ENDED | {_P.DRAINING, _P.HANDING_OVER}),
        *((phase, _E.DRAINED) for phase in _ENDED),
        *((phase, _E.OVERDUE) for phase in _ENDED),
        # A standing worker crashed while the lease was taken anew: WARM will see it.
        (_P.JOINING, _E.WORKER_EXITED),
        # The key was taken by an attempt that outlived its phase; it goes with the lease.
        (_P.STOPPING, _E.WON),
        # The store was judged while the phase changed; it is judged again before a campaign.
        *((phase, event) for phase in Phase for event in (_E.ELIGIBLE, _E.INELIGIBLE)),
        # Nothing matters any more, whatever was still under way.
        *((_P.STOPPED, event) for event in Event),
    }
    return pairs - TRANSITIONS.keys()


IGNORED: Final[frozenset[tuple[Phase, Event]]] = frozenset(_ignored())
"""Pairs that happen in a healthy run and mean nothing. Any other pair is a bug."""


def step(phase: Phase, event: Event) -> Step:
    """Answer one event. Pure: same question, same answer.

    Raises:
        UnexpectedEventError: The pair is neither in ``TRANSITIONS`` nor in ``IGNORED``.

    """
    return lookup(TRANSITIONS, IGNORED, phase, event) or Step(phase)
