"""State machine of one module's lifecycle: phases, events, and the actions that follow.

Pure: no thread, no clock. ``runner.py`` passes the events in and performs the actions. Modules are
found and imported by ``finder.py``.

Theory of operation
-------------------
A module is constructed (STARTING), then serves (RUNNING). If its constructor or ``serve()``
raises, it is FAILED: it is listed in health, its commands are refused, and after a pause that
grows with each failure it is constructed again (RESTARTING). It is then on PROBATION: it works as
before but keeps its health entry, so that a module which fails every second is not reported as
healthy in between.

If it runs in a process of its own and that process ends by itself (DIED), it is constructed again
at once; if that happens again while it is on probation, it is FAILED.

There is never a second instance beside one that still runs. If the earlier instance did not stop
before a restart, the module is WAITING: no instance is constructed until the earlier one has ended.

Construction has a time limit. After that the module is LATE, which is reported and stops nothing.
The manager is active meanwhile and queues the module's commands.

A module is asked to stop. If it does not stop in time, it is ABANDONED: Python cannot end its
threads, so it is disconnected from the manager instead. (A process can be ended: a module that runs
in one is never abandoned.) ``abandoned.py`` tracks it for as long as its threads run, and the
worker does not count as quiesced until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

from mgr.state_machine import StateMachine


class Phase(Enum):
    """The state a module is in; the value is what operators read."""

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
    """What can happen to a module."""

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
    DIED = auto()


class Action(Enum):
    """What ``runner.py`` has to do after an event."""

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
    """The next phase after an event, and the actions to perform in order."""

    phase: Phase
    actions: tuple[Action, ...] = ()


_P, _E, _A = Phase, Event, Action

TRANSITIONS: Final[Mapping[tuple[Phase, Event], Step]] = {
    (_P.STARTING, _E.CONSTRUCTED): Step(_P.RUNNING, (_A.SERVE,)),
    (_P.STARTING, _E.CONSTRUCTOR_RAISED): Step(_P.FAILED, (_A.REPORT, _A.PAUSE)),
    (_P.STARTING, _E.LOAD_LIMIT_PASSED): Step(_P.LATE, (_A.REPORT,)),
    (_P.STARTING, _E.DIED): Step(_P.RESTARTING, (_A.REPORT, _A.CONSTRUCT)),
    (_P.STARTING, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.LATE, _E.CONSTRUCTED): Step(_P.RUNNING, (_A.CLEAR, _A.SERVE)),
    (_P.LATE, _E.CONSTRUCTOR_RAISED): Step(_P.FAILED, (_A.REPORT, _A.PAUSE)),
    (_P.LATE, _E.DIED): Step(_P.RESTARTING, (_A.REPORT, _A.CONSTRUCT)),
    (_P.LATE, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.RUNNING, _E.SERVE_RAISED): Step(_P.FAILED, (_A.REPORT, _A.PAUSE)),
    (_P.RUNNING, _E.DIED): Step(_P.RESTARTING, (_A.REPORT, _A.CONSTRUCT)),
    (_P.RUNNING, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.FAILED, _E.PAUSE_OVER): Step(_P.RESTARTING, (_A.CONSTRUCT,)),
    (_P.FAILED, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.RESTARTING, _E.CONSTRUCTED): Step(_P.PROBATION, (_A.SERVE, _A.START_PROBATION)),
    (_P.RESTARTING, _E.CONSTRUCTOR_RAISED): Step(_P.FAILED, (_A.REPORT, _A.PAUSE)),
    (_P.RESTARTING, _E.DIED): Step(_P.FAILED, (_A.REPORT, _A.PAUSE)),
    (_P.RESTARTING, _E.STOP_LIMIT_PASSED): Step(_P.WAITING, (_A.REPORT, _A.WAIT_FOR_EARLIER)),
    (_P.RESTARTING, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.WAITING, _E.EARLIER_ENDED): Step(_P.RESTARTING, (_A.CONSTRUCT,)),
    (_P.WAITING, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.PROBATION, _E.PROBATION_OVER): Step(_P.RUNNING, (_A.CLEAR,)),
    (_P.PROBATION, _E.SERVE_RAISED): Step(_P.FAILED, (_A.REPORT, _A.PAUSE)),
    (_P.PROBATION, _E.DIED): Step(_P.FAILED, (_A.REPORT, _A.PAUSE)),
    (_P.PROBATION, _E.STOP): Step(_P.STOPPING, (_A.SHUT_DOWN,)),
    (_P.STOPPING, _E.STOPPED): Step(_P.STOPPED, (_A.DISCONNECT,)),
    (_P.STOPPING, _E.STOP_LIMIT_PASSED): Step(_P.ABANDONED, (_A.DISCONNECT,)),
}

ENDED: Final = frozenset({Phase.STOPPED, Phase.ABANDONED})
"""Final phases."""

IGNORED: Final[frozenset[tuple[Phase, Event]]] = frozenset(
    {
        # The limit is one timer for all modules; most have long passed it.
        *((phase, Event.LOAD_LIMIT_PASSED) for phase in Phase if phase is not Phase.STARTING),
        # Timer of an earlier probation; the module has crashed again since.
        *(
            (phase, Event.PROBATION_OVER)
            for phase in (Phase.FAILED, Phase.RESTARTING, Phase.WAITING, Phase.RUNNING)
        ),
        # It had failed already: its process waited for the restart, which comes anyway.
        (Phase.FAILED, Event.DIED),
        # Events of work that was in progress when the module was asked to stop.
        *(
            (Phase.STOPPING, event)
            for event in (
                Event.CONSTRUCTED,
                Event.CONSTRUCTOR_RAISED,
                Event.SERVE_RAISED,
                Event.PAUSE_OVER,
                Event.PROBATION_OVER,
                Event.EARLIER_ENDED,
                Event.DIED,
                Event.STOP,
            )
        ),
        # The module has ended: no event has an effect.
        *((phase, event) for phase in ENDED for event in Event),
    }
)
"""Pairs that occur in a normal run and change nothing. Any pair not listed at all is a bug."""

READY: Final = frozenset({Phase.RUNNING, Phase.PROBATION})
"""Phases in which the module's commands run."""

LOADING: Final = frozenset({Phase.STARTING, Phase.LATE, Phase.RESTARTING})
"""Phases in which the module has no instance yet and its commands are queued."""


step: Final = StateMachine(TRANSITIONS, IGNORED, unchanged=Step).step
"""Return the next phase and the actions for one event. Raises ``UnexpectedEventError``."""
