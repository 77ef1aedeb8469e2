"""Whether there is an active in bounded time, whatever happened before.

Guards and workers reach etcd or do not, each by itself, and that changes at any moment. From every
state that this leads to, the faults stop changing; from then on every manager takes its turn in
every round, in any order. With one manager whose guard and worker both reach etcd, each such
schedule must lead to an active that commits writes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from mgr.election.machine import Event, Phase
from tests.model.checker import Label, Successors, distances, explore, narrate, way
from tests.model.derived import EVENTS, NEVER, PHASES, machine_table

BAD, KEY = range(2)
"""The verdict; who holds the leader key (number of the manager plus 1; 0: nobody)."""
HEAD: Final = 2
P, D, LEASE, SILENCE, AGE, W, GUARD, WORKER = range(8)
"""Of one manager: phase; ticks until its deadline; ticks until its lease ends; the silence that it
counts; ticks since its worker's last proven write; worker (0 none, 1 warm, 2 leads); what its guard
and its worker reach."""
SIZE: Final = 8
REACHES, CUT, DEAF = range(3)
"""Etcd answers; nothing arrives; requests arrive and answers do not."""


class Ticks(NamedTuple):
    """How long things last: what matters here is their order, not their length.

    A proof; the silence that allows a deposition; a lease; how old a worker's last write may be.
    """

    proof: int = 1
    silence: int = 2
    lease: int = 3
    able: int = 1


SHORT: Final = Ticks()
LONG: Final = Ticks(proof=5, silence=6, lease=7, able=3)
"""As the product's functions give them for a window of five ticks."""
NAMES: Final = "ABC"

VIOLATIONS: Final = ("", "the state machine was given an event that its table says cannot happen")
NO_ACTIVE: Final = (
    "I5: this repeats for ever: nobody leads who can work, and a fit manager is there"
)
PROTECTIONS: Final = {
    "unable is ended": "an active whose worker proves no writes is ended, and its key given back",
    "look before renewing": "after an unanswered attempt a lease is not renewed blindly",
    "lease runs out": "a leader key ends with its holder's lease",
    "deposition": "a standby ends the term of a leader that has fallen silent",
}
NOT_NEEDED: Final = frozenset({"deposition"})
"""Without it the lease still ends a silent term: it takes longer, and this shows how much."""

_PHASE: Final = {phase: PHASES.index(phase) for phase in Phase}
STANDBY, ACTIVE = _PHASE[Phase.STANDBY], _PHASE[Phase.ACTIVE]
_PROVABLE: Final = frozenset(
    _PHASE[phase]
    for phase in (Phase.STARTING, Phase.ACTIVE, Phase.SUSPENDED_STARTING, Phase.SUSPENDED)
)
TURN, TICK, GUARDS, WORKERS = range(4)
REACHING: Final = ("reaches etcd", "is cut off from etcd", "reaches etcd and hears no answer")


class Liveness:
    """The model, with some protections taken out."""

    violations = VIOLATIONS

    def __init__(self, *broken: str, managers: int = 2, ticks: Ticks = SHORT) -> None:
        """Have so many managers."""
        if set(broken) - PROTECTIONS.keys():
            raise ValueError(f"no such protection: {broken}")
        self.name = "liveness: " + " ".join(
            (f"{managers} managers", *(("long",) if ticks == LONG else ()), *broken)
        )
        self.broken = frozenset(broken)
        self.machine = machine_table()
        self.ticks = ticks
        self.bases = tuple(HEAD + number * SIZE for number in range(managers))
        self._orders = tuple(itertools.permutations(range(managers)))

    def initial(self) -> Iterable[bytes]:
        """Everybody stands by and reaches etcd."""
        state = bytearray(HEAD + SIZE * len(self.bases))
        for base in self.bases:
            state[base + P], state[base + LEASE], state[base + W] = STANDBY, self.ticks.lease, 1
        return [bytes(state)]

    def canonical(self, state: bytes) -> bytes:
        """Sort the managers: they differ by name only."""
        holder = state[KEY]
        marked = sorted(
            (state[base : base + SIZE], holder != number)
            for number, base in enumerate(self.bases, 1)
        )
        key = next((place for place, (_, other) in enumerate(marked, 1) if not other), 0)
        return bytes((state[BAD], key)) + b"".join([mine for mine, _ in marked])

    def successors(self, state: bytes) -> Successors:
        """Any manager takes a turn, time passes, or a connection changes."""
        out: Successors = []
        for who, base in enumerate(self.bases):
            after = bytearray(state)
            self._turn(after, who)
            out.append(((TURN, who), bytes(after)))
            for field, label, most in ((GUARD, GUARDS, 3), (WORKER, WORKERS, 2)):
                for reach in range(most):
                    if reach != state[base + field]:
                        after = bytearray(state)
                        after[base + field] = reach
                        out.append(((label, who), bytes(after)))
        after = bytearray(state)
        self._tick(after)
        out.append(((TICK, 0), bytes(after)))
        return out

    def describe(self, label: Label, before: bytes, after: bytes) -> str:
        """Say who did what."""
        action, who = label
        base = HEAD + who * SIZE
        if action == GUARDS:
            return f"{NAMES[who]}'s guard {REACHING[after[base + GUARD]]}"
        if action == WORKERS:
            return f"{NAMES[who]}'s worker {REACHING[after[base + WORKER]]}"
        if action == TICK:
            ended = before[KEY] and not after[KEY]
            return "a tick passes" + ("; the leader key ends with its lease" if ended else "")
        return f"{NAMES[who]} takes a turn: {self._shown(before, who)} to {self._shown(after, who)}"

    def _shown(self, state: bytes, who: int) -> str:
        key = ", holds the key" if state[KEY] == who + 1 else ""
        return PHASES[state[HEAD + who * SIZE + P]].name + key

    # -- fairness ---------------------------------------------------------------------------------

    def fit(self, state: bytes) -> bool:
        """Whether there is a manager whose guard and worker reach etcd."""
        return any(not state[base + GUARD] and not state[base + WORKER] for base in self.bases)

    def works(self, state: bytes) -> bool:
        """Whether somebody leads, may answer, and commits writes."""
        holder = state[KEY]
        if not holder:
            return False
        base = self.bases[holder - 1]
        return state[base + P] == ACTIVE and state[base + D] > 0 and state[base + WORKER] == REACHES

    def progress(self, state: bytes) -> Sequence[bytes]:
        """Return the states after one fair round, one for each order of turns."""
        found = {}
        for order in self._orders:
            after = bytearray(state)
            self._tick(after)
            for who in order:
                self._turn(after, who)
            found[self.canonical(bytes(after))] = None
        return tuple(found)

    # -- what a manager does --------------------------------------------------------------

    def _tick(self, s: bytearray) -> None:
        for number, base in enumerate(self.bases, 1):
            s[base + D] -= s[base + D] > 0
            s[base + AGE] = (
                0 if s[base + WORKER] == REACHES else min(s[base + AGE] + 1, self.ticks.able)
            )
            if s[base + LEASE] and "lease runs out" not in self.broken:
                s[base + LEASE] -= 1
                if not s[base + LEASE] and s[KEY] == number:
                    s[KEY] = 0
            listens = s[base + P] == STANDBY and s[base + GUARD] == REACHES and s[KEY]
            s[base + SILENCE] = min(s[base + SILENCE] + 1, self.ticks.silence + 1) if listens else 0

    def _on(self, s: bytearray, base: int, event: Event) -> None:
        phase, _ = self.machine[s[base + P]][EVENTS.index(event)]
        if phase == NEVER:
            s[BAD] = 1
        else:
            s[base + P] = phase

    def _turn(self, s: bytearray, who: int) -> None:
        base, phase = self.bases[who], PHASES[s[self.bases[who] + P]]
        if s[base + P] in _PROVABLE:
            self._lead(s, who, base)
        elif phase is Phase.STANDBY:
            self._stand_by(s, who, base)
        elif phase is Phase.KILLING_WORKER:
            s[base + W] = 0
            self._on(s, base, Event.WORKER_EXITED)
        elif phase is Phase.RELEASING:
            if s[base + GUARD] != CUT and s[KEY] == who + 1:
                s[KEY] = 0
            if s[base + GUARD] == REACHES:
                s[base + D] = 0
                self._on(s, base, Event.RELEASED)
        elif phase is Phase.JOINING and s[base + GUARD] == REACHES:
            s[base + LEASE] = self.ticks.lease
            self._on(s, base, Event.JOINED)
        elif phase is Phase.WARMING and s[base + WORKER] == REACHES:
            s[base + W], s[base + AGE] = 1, 0
            self._on(s, base, Event.READY)

    def _stand_by(self, s: bytearray, who: int, base: int) -> None:
        # A worker that reaches no etcd may lead once; it does not become warm again.
        may = s[KEY] == 0
        if s[base + GUARD] == DEAF and may and s[base + LEASE]:
            s[KEY] = who + 1
        if s[base + GUARD] == DEAF and "look before renewing" in self.broken and s[base + LEASE]:
            s[base + LEASE] = self.ticks.lease
        if s[base + GUARD] != REACHES:
            return
        if not s[base + LEASE]:
            self._on(s, base, Event.LOST)
            return
        s[base + LEASE] = self.ticks.lease
        if may or s[KEY] == who + 1:
            s[KEY] = who + 1
            s[base + D], s[base + SILENCE] = self.ticks.proof, 0
            self._on(s, base, Event.WON)
        elif s[base + SILENCE] > self.ticks.silence and "deposition" not in self.broken:
            s[KEY] = s[base + SILENCE] = 0

    def _lead(self, s: bytearray, who: int, base: int) -> None:
        if s[base + AGE] >= self.ticks.able and "unable is ended" not in self.broken:
            s[base + W] = 0
            self._on(s, base, Event.WORKER_EXITED)
            return
        if s[base + GUARD] != CUT and s[KEY] == who + 1:
            for other in self.bases:
                s[other + SILENCE] = 0
        if s[base + GUARD] == DEAF and "look before renewing" in self.broken and s[base + LEASE]:
            s[base + LEASE] = self.ticks.lease
        if s[base + GUARD] == REACHES:
            if s[KEY] != who + 1 or not s[base + LEASE]:
                self._on(s, base, Event.LOST)
                return
            s[base + LEASE], s[base + D] = self.ticks.lease, self.ticks.proof
            self._on(s, base, Event.TERM_CONFIRMED)
            if PHASES[s[base + P]] in {Phase.STARTING, Phase.SUSPENDED_STARTING}:
                s[base + W] = 2
                self._on(s, base, Event.STARTED)
        elif s[base + D] == 0:
            self._on(s, base, Event.DEADLINE)


def check(model: Liveness) -> tuple:
    """Explore ``model`` and follow every fair schedule; the result, the most rounds, and a story.

    The story is None where each schedule leads to an active that works.
    """
    result = explore(model, keep=True)
    parents, result.parents = result.parents, {}
    fit = [state for state in parents if model.fit(state)]
    rounds, circle = distances(fit, model.progress, model.works)
    if circle is None:
        return result, rounds, None
    lines = narrate(model, way(parents, next(state for state in circle if state in parents)))
    begin = circle.index(circle[-1])
    lines += [f"in round {number}: {_status(model, s)}" for number, s in enumerate(circle)]
    lines.append(f"from round {begin} on the same again")
    return result, rounds, (*lines, NO_ACTIVE)


def _status(model: Liveness, state: bytes) -> str:
    shown = []
    for who, base in enumerate(model.bases):
        guard, worker = REACHING[state[base + GUARD]], REACHING[state[base + WORKER]]
        shown.append(f"{model._shown(state, who)} (guard {guard}, worker {worker})")
    return "; ".join(shown)
