"""How a state of the election model is laid out."""

from __future__ import annotations

from typing import Final

from mgr.election import machine
from mgr.election.machine import Phase
from tests.model.derived import PHASES

BAD, KEY, NEWEST, KIND, OF, WINDOW_LEFT, ACTED, LATE, CLOCK = range(9)
"""The verdict; the term of the leader key (0: nobody leads); the newest term; the term record:
kind, of which term, window; the newest term that had an effect outside, and how long ago its first
one was; where the clocks are in their cycle, or how long somebody was paused unseen."""
HEAD: Final = 9

P, T, D, E, S, W, B, R, A, L, G, V, Q = range(13)
"""Of one manager: phase; term; ticks until its deadline; until signed, ticks since it won, and then
ticks until effects are allowed; signed; worker (0 none, 1 warm, 2 leads, 3 is to end); what acts
outside; the request of its guard and its age; the silence it counts, the ticks since its last look,
whether something moved since; the term of a write that is under way."""
SIZE: Final = 13

MODULE, HELPER, ABANDONED = 1, 2, 4
"""What may act outside: a module's thread, a process that it started, a thread of an instance that
was replaced and did not stop."""
IN_FLIGHT, DONE, REFUSED = 1, 2, 3

STOPPED: Final = PHASES.index(Phase.STOPPED)
STANDBY: Final = PHASES.index(Phase.STANDBY)
LEADING: Final = frozenset(PHASES.index(phase) for phase in machine.LEADING)
CONFIRMABLE: Final = frozenset(PHASES.index(phase) for phase in machine.CONFIRMABLE)
