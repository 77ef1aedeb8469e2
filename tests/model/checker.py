"""Breadth-first search over every state of a model, with the shortest way to a violation.

A state is a ``bytes`` object: small, hashed in C, read by index. Its first byte is the model's
verdict on the step that led there: 0, or the index of a sentence in ``Model.violations``. So a
violation of a state and one of a transition look the same to the search.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from mgr.clock import CLOCK

Label = tuple[int, int]
"""Which action was taken, and by whom; the model puts it into words."""
Successors = list[tuple[Label, bytes]]

UNLIMITED: Final = 1 << 62


class Model(Protocol):
    """One scope: everything that can happen, as far as this scope goes."""

    name: str
    violations: Sequence[str]

    def initial(self) -> Iterable[bytes]:
        """Return the states to begin with."""
        ...

    def successors(self, state: bytes) -> Successors:
        """Return every step that is possible in ``state``."""
        ...

    def canonical(self, state: bytes) -> bytes:
        """Return the one state that stands for all that differ only by names."""
        ...

    def describe(self, label: Label, before: bytes, after: bytes) -> str:
        """Say in one line who did what."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """A violation: what is wrong, and the shortest way there.

    Attributes:
        broken: The violated invariant, in words.
        steps: One line per step.

    """

    broken: str
    steps: tuple[str, ...]

    def story(self) -> str:
        """Return the whole counterexample, one numbered line per step."""
        lines = [f"{number:3}. {line}" for number, line in enumerate(self.steps, 1)]
        return "\n".join((*lines, f"  => {self.broken}"))


@dataclass(slots=True)
class Result:
    """What one search saw.

    Attributes:
        states: Distinct states, after symmetry.
        transitions: Steps taken, those to known states included.
        depth: Steps to the farthest state.
        seconds: Duration of the search on this machine.
        complete: Whether every reachable state was visited.
        found: The first violation; None if there is none.

    """

    name: str
    states: int = 0
    transitions: int = 0
    depth: int = 0
    seconds: float = 0.0
    complete: bool = True
    found: Found | None = None
    parents: dict[bytes, bytes] = field(default_factory=dict, repr=False)

    def row(self) -> str:
        """Return the figures in one line."""
        return (
            f"{self.name:34} {self.states:>10,} {self.transitions:>12,} {self.depth:>6} "
            f"{self.seconds:>8.1f}  {'' if self.complete else 'not exhaustive'}".rstrip()
        )


HEAD: Final = f"{'model':34} {'states':>10} {'transitions':>12} {'depth':>6} {'seconds':>8}"


def explore(model: Model, *, limit: int = UNLIMITED, keep: bool = False) -> Result:
    """Visit every state of ``model``, nearest first, until one violates an invariant.

    Deterministic. ``limit`` bounds the number of states; a search that reaches it is marked as
    incomplete. ``keep`` leaves all visited states in the result, each with its predecessor.
    """
    result = Result(model.name)
    began_s = CLOCK.now()
    collecting = gc.isenabled()
    # Millions of small objects that refer to nothing: a collection finds nothing and costs much.
    gc.disable()
    try:
        _search(model, result, limit)
    finally:
        if collecting:
            gc.enable()
    result.states = len(result.parents)
    result.seconds = CLOCK.now() - began_s
    if not keep:
        result.parents = {}
    return result


def _search(model: Model, result: Result, limit: int) -> None:
    parents, canonical, successors = result.parents, model.canonical, model.successors
    frontier = []
    for state in model.initial():
        first = canonical(state)
        if first not in parents:
            parents[first] = first
            frontier.append(first)
    taken = 0
    while frontier:
        following: list[bytes] = []
        for state in frontier:
            for _, reached in successors(state):
                taken += 1
                after = canonical(reached)
                if after in parents:
                    continue
                parents[after] = state
                following.append(after)
                if after[0]:
                    result.transitions, result.complete = taken, False
                    result.depth += 1
                    result.found = _explain(model, parents, after)
                    return
            if len(parents) >= limit:
                result.transitions, result.complete = taken, False
                return
        frontier = following
        result.depth += bool(frontier)
    result.transitions = taken


def way(parents: dict[bytes, bytes], last: bytes) -> list[bytes]:
    """Return the states from a first one to ``last``."""
    states = [last]
    while parents[states[-1]] != states[-1]:
        states.append(parents[states[-1]])
    return states[::-1]


def _explain(model: Model, parents: dict[bytes, bytes], last: bytes) -> Found:
    return Found(model.violations[last[0]], tuple(narrate(model, way(parents, last))))


def narrate(model: Model, states: Sequence[bytes]) -> list[str]:
    """Put a way of canonical states into words, with the same names from beginning to end.

    Symmetry renames managers between two steps. Steps commute with renaming, so the way is
    walked once more with the names of its first state.
    """
    state, lines = states[0], []
    for wanted in states[1:]:
        label, after = next(
            (label, after)
            for label, after in model.successors(state)
            if model.canonical(after) == wanted
        )
        lines.append(model.describe(label, state, after))
        state = after
    return lines


def distances(
    states: Iterable[bytes],
    progress: Callable[[bytes], Sequence[bytes]],
    goal: Callable[[bytes], bool],
) -> tuple[int, list[bytes] | None]:
    """Follow every fair schedule from every state until ``goal`` holds.

    ``progress`` returns the states after one fair round, one for each order that is possible.

    Returns the most rounds that any state needs, and None; or, with a state from which a fair
    schedule never reaches the goal, the rounds from there up to the first repeated state.
    """
    known: dict[bytes, int] = {}
    for state in states:
        circle = _descend(state, known, progress, goal)
        if circle is not None:
            return max(known.values(), default=0), circle
    return max(known.values(), default=0), None


def _descend(
    first: bytes,
    known: dict[bytes, int],
    progress: Callable[[bytes], Sequence[bytes]],
    goal: Callable[[bytes], bool],
) -> list[bytes] | None:
    """Note in ``known`` how many rounds ``first`` needs at most; a circle if it may need for ever.

    Depth first, with a stack of its own: a schedule may be longer than Python's.
    """
    path: list[tuple[bytes, Iterator[bytes]]] = [(first, iter((first,)))]
    entered: dict[bytes, None] = {}
    while path:
        here, following = path[-1]
        after = next(following, None)
        if after is None:
            path.pop()
            if path:
                known[here] = 1 + max(known[each] for each in progress(here))
                del entered[here]
        elif after in entered:
            return [*entered, after]
        elif after not in known:
            if goal(after):
                known[after] = 0
            else:
                entered[after] = None
                path.append((after, iter(progress(after))))
    return None
