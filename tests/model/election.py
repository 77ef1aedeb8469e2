"""Who leads, and when effects outside the store may happen: one key, one record, all clocks.

The state machine, the deadline, the gate, the counting of a silence and the contents of the term
record come from the product (``tests.model.derived``). What is modelled here is what surrounds
them: a store that does transactions one at a time, requests whose answers are lost, processes
that die, threads and helper processes that act without asking, and time.

Nothing has to happen: a guard that is stopped, starved or cut off is one that takes no step. Only
three things come by themselves: time passes, gates shut, and the kernel's kill timer fires.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from mgr.election.machine import Event, Phase
from tests.model import election_steps as steps
from tests.model import election_words as words
from tests.model.checker import Label, Successors
from tests.model.derived import EVENTS, NEVER, PHASES, WINDOW, Spans, machine_table
from tests.model.election_state import (
    ACTED,
    CLOCK,
    HEAD,
    KEY,
    LATE,
    LEADING,
    SIZE,
    STANDBY,
    A,
    B,
    D,
    E,
    G,
    P,
    R,
    S,
    T,
    V,
    W,
)

CYCLE: Final = 6
"""Of six moments the fast clock shows all, an exact one five and the slow one four."""
SLOW, EXACT, FAST = range(3)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What can happen, and how far.

    Attributes:
        terms: How many terms there may be.
        rates: How each manager's clock runs; all ``EXACT``: managers differ by name only.
        share: How wrong clocks may be, as the product's functions are given it.
        pause: Ticks that the first manager may be stopped without its clock knowing.
        late: An effect of an old term is accepted for so many ticks after its successor's first.

    """

    name: str
    managers: int = 2
    terms: int = 2
    rates: tuple[int, ...] = ()
    share: float = 0.01
    helpers: bool = False
    reloads: bool = False
    resigns: bool = False
    crashes: bool = False
    vanishes: bool = False
    unreadable: bool = False
    writes: bool = False
    stops: bool = False
    judges: bool = False
    pause: int = 0
    late: int = 0


class Election:
    """The model of one scope, with some protections taken out."""

    violations = words.VIOLATIONS

    def __init__(self, scope: Scope, *broken: str) -> None:
        """Leave out the protections named by ``broken``; see ``words.PROTECTIONS``."""
        unknown = set(broken) - words.PROTECTIONS.keys()
        if unknown:
            raise ValueError(f"no such protection: {sorted(unknown)}")
        self.name = "election: " + " ".join((scope.name, *broken))
        self.scope = scope
        self.broken = frozenset(broken)
        self.spans = Spans(
            scope.share, own_window=2 if "window of the leader" in broken else WINDOW
        )
        self.machine = [list(row) for row in machine_table()]
        if "kill before release" in broken:
            row = self.machine[PHASES.index(Phase.DRAINING)]
            row[EVENTS.index(Event.OVERDUE)] = row[EVENTS.index(Event.DRAINED)]
        self.bases = tuple(HEAD + number * SIZE for number in range(scope.managers))
        self.drifts = any(rate != EXACT for rate in scope.rates)
        self.symmetric = not self.drifts and not scope.pause
        self.kill_timer = "kill timer" not in broken

    def initial(self) -> Iterable[bytes]:
        """Everybody stands by; nobody has ever led."""
        state = bytearray(HEAD + SIZE * self.scope.managers)
        for base in self.bases:
            state[base + P], state[base + W], state[base + V] = STANDBY, 1, 1
        return [bytes(state)]

    def canonical(self, state: bytes) -> bytes:
        """Sort the managers, where they differ by name only."""
        if not self.symmetric:
            return state
        return state[:HEAD] + b"".join(sorted([state[b : b + SIZE] for b in self.bases]))

    def successors(self, state: bytes) -> Successors:
        """Everything that may happen next."""
        out: Successors = []
        self._tick(state, out)
        for who, base in enumerate(self.bases):
            for take in self._possible[state[base + P]]:
                take(self, state, who, base, out)
        for take in self._of_nobody:
            take(self, state, out)
        return out

    def describe(self, label: Label, before: bytes, after: bytes) -> str:
        """Say who did what."""
        return words.sentence(label, before, after)

    def on(self, state: bytearray, base: int, event: int) -> None:
        """Let the real state machine answer ``event``, and begin what it answers with."""
        phase, action = self.machine[state[base + P]][event]
        if phase == NEVER:
            state[0] = words.UNEXPECTED
            return
        state[base + P] = phase
        if action == steps.KILL:
            steps.end_worker(state, base)
        elif action in steps.ENDS_IN_TIME and state[base + W]:
            state[base + W] = 3

    @cached_property
    def _possible(self) -> dict[int, tuple]:
        return {index: steps.possible(self.scope, phase) for index, phase in enumerate(PHASES)}

    @cached_property
    def _of_nobody(self) -> tuple:
        return steps.of_nobody(self.scope)

    # -- time -------------------------------------------------------------------------------------

    def _tick(self, state: bytes, out: Successors) -> None:
        if not self.drifts:
            self._pass(state, self.bases, CLOCK, out)
            if self.scope.pause > state[CLOCK]:
                after = bytearray(state)
                after[CLOCK] += 1
                self._pass(bytes(after), self.bases[1:], steps.PAUSED, out)
            return
        moment = state[CLOCK]
        slowest = FAST if moment == 0 else EXACT if moment == CYCLE - 1 else SLOW
        after = bytearray(state)
        after[CLOCK] = (moment + 1) % CYCLE
        ticking = [
            base for base, rate in zip(self.bases, self.scope.rates, strict=True) if rate >= slowest
        ]
        self._pass(bytes(after), ticking, CLOCK, out)

    def _pass(self, state: bytes, ticking: Iterable[int], kind: int, out: Successors) -> None:
        after = bytearray(state)
        for base in ticking:
            self._pass_for(after, base)
        if self.scope.late and after[ACTED] > 1:
            after[LATE] = min(after[LATE] + 1, self.scope.late + 1)
        reached = bytes(after)
        if reached != state or kind != CLOCK:
            label = words.PAUSE if kind == steps.PAUSED else words.TICK
            out.append(((label, 0), reached))

    def _pass_for(self, after: bytearray, base: int) -> None:
        if after[base + T]:
            if after[base + S]:
                after[base + E] -= after[base + E] > 0
            elif after[base + P] in LEADING:
                after[base + E] += after[base + E] < self.spans.out
        if after[base + D]:
            after[base + D] -= 1
            if not after[base + D] and after[base + B] and self.kill_timer:
                # The kernel's timer in the worker's parent: nobody has to be awake for it.
                steps.end_worker(after, base)
                after[base + B] = 0
        if after[base + R]:
            after[base + A] += after[base + A] < WINDOW
        if after[KEY] and not after[base + V] and after[base + P] == STANDBY:
            after[base + G] += after[base + G] < 2
