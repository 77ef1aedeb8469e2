"""The life of one module: what it is, what may happen to it, and what is then done.

Pure: no thread, no clock. ``runner.py`` tells it what happened and does what it answers.

Theory of operation
-------------------
A module is constructed (STARTING), then serves (RUNNING). A constructor or a ``serve()`` that
raises makes it FAILED: it is named in health, its commands are refused, and after a pause that
grows with each time it is constructed anew (RESTARTING). It then is on PROBATION, where it works
as before but keeps its health entry, so that a module which dies every second is not reported
as well for the half of each second in which it lives.

There is never a second instance beside one that still runs. Where an earlier one did not stop
when it was to be restarted, the module is WAITING: nothing is constructed until that one has ended.

Construction has a limit: past it the module is LATE, which is reported and ends nothing. The
manager is active meanwhile and holds the module's commands.

A module is stopped by asking. One that does not stop in time is ABANDONED: Python cannot end
its threads, so it is cut off from everything instead. ``abandoned.py`` keeps it on the books for
as long as they run, and the process it sits in will not be called quiesced.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

from mgr.state_machine import StateMachine


class Phase(Enum):
    """What a module is."""

    STARTING = "starting"
    LATE = "late"
    RUNNING = "running"
    FAILED = "failed"
    RESTARTING = "restarting"
    WAITING = "waiting: an earlier instance still runs"
    PROBATION = "on probation"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ABANDONED = "abandoned"


class Event(Enum):
    """What can happen to it."""

    CONSTRUCTED = auto()
    CONSTRUCTOR_RAISED = auto()
    LOAD_LIMIT_PASSED = auto()
    SERVE_RAISED = auto()
    PAUSE_OVER = auto()
    PROBATION_OVER = auto()
    STOP = auto()
    STOPPED = auto()
    STOP_LIMIT_PASSED = auto()
    EARLIER_ENDED = auto()


class Action(Enum):
    """What must then be done, in the order given."""

    REPORT = auto()
    CLEAR = auto()
    SERVE = auto()
    PAUSE = auto()
    CONSTRUCT = auto()
    WAIT_FOR_EARLIER = auto()
    START_PROBATION = auto()
    SHUT_DOWN = auto()
    DISCONNECT = auto()


class Step(NamedTuple):
    """The answer to one event."""

    phase: Phase
    actions: tuple[Action, ...] = ()


_P, _E, _A = Phase, Event, Action

TRANSITIONS: Final[Mapping[tuple[Phase, Event], Step]] = {
    (_P.STARTING, _E.CONSTRUCTED): Step(_P.RUNNING, (_A.SERVE,)),
    (_P.STARTING, _E.CONSTRUCTOR_RAISED): Step(_P.FAILED, (_A.REPORT, _A.PAUSE)),
    (_P.STARTING, _E.LOAD_LIMIT_PASSED): Step(_P.LATE, (_A.REPORT,)),
    (_P.STARTING, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.LATE, _E.CONSTRUCTED): Step(_P.RUNNING, (_A.CLEAR, _A.SERVE)),
    (_P.LATE, _E.CONSTRUCTOR_RAISED): Step(_P.FAILED, (_A.REPORT, _A.PAUSE)),
    (_P.LATE, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.RUNNING, _E.SERVE_RAISED): Step(_P.FAILED, (_A.REPORT, _A.PAUSE)),
    (_P.RUNNING, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.FAILED, _E.PAUSE_OVER): Step(_P.RESTARTING, (_A.CONSTRUCT,)),
    (_P.FAILED, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.RESTARTING, _E.CONSTRUCTED): Step(_P.PROBATION, (_A.SERVE, _A.START_PROBATION)),
    (_P.RESTARTING, _E.CONSTRUCTOR_RAISED): Step(_P.FAILED, (_A.REPORT, _A.PAUSE)),
    (_P.RESTARTING, _E.STOP_LIMIT_PASSED): Step(_P.WAITING, (_A.REPORT, _A.WAIT_FOR_EARLIER)),
    (_P.RESTARTING, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.WAITING, _E.EARLIER_ENDED): Step(_P.RESTARTING, (_A.CONSTRUCT,)),
    (_P.WAITING, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.PROBATION, _E.PROBATION_OVER): Step(_P.RUNNING, (_A.CLEAR,)),
    (_P.PROBATION, _E.SERVE_RAISED): Step(_P.FAILED, (_A.REPORT, _A.PAUSE)),
    (_P.PROBATION, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.STOPPING, _E.STOPPED): Step(_P.STOPPED, (_A.DISCONNECT,)),
    (_P.STOPPING, _E.STOP_LIMIT_PASSED): Step(_P.ABANDONED, (_A.DISCONNECT,)),
}

ENDED: Final = frozenset({Phase.STOPPED, Phase.ABANDONED})
"""No way leads out of these."""

IGNORED: Final[frozenset[tuple[Phase, Event]]] = frozenset(
    {
        # The limit is one timer for all modules; most have long passed it.
        *((phase, Event.LOAD_LIMIT_PASSED) for phase in Phase if phase is not Phase.STARTING),
        # An earlier probation's timer, overtaken by another crash.
        *(
            (phase, Event.PROBATION_OVER)
            for phase in (Phase.FAILED, Phase.RESTARTING, Phase.WAITING, Phase.RUNNING)
        ),
        # What was under way when it was told to stop.
        *(
            (Phase.STOPPING, event)
            for event in (
                Event.CONSTRUCTED,
                Event.CONSTRUCTOR_RAISED,
                Event.SERVE_RAISED,
                Event.PAUSE_OVER,
                Event.PROBATION_OVER,
                Event.EARLIER_ENDED,
                Event.STOP,
            )
        ),
        # Nothing matters any more.
        *((phase, event) for phase in ENDED for event in Event),
    }
)
"""Pairs that happen in a healthy run and mean nothing. Any other pair is a bug."""

READY: Final = frozenset({Phase.RUNNING, Phase.PROBATION})
"""Its commands are run."""

LOADING: Final = frozenset({Phase.STARTING, Phase.LATE, Phase.RESTARTING})
"""It has no instance yet: its commands are held."""


step: Final = StateMachine(TRANSITIONS, IGNORED, unchanged=Step).step
"""Return the next phase and the actions for one event. Raises ``UnexpectedEventError``."""
