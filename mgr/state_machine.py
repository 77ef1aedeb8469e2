"""The rule that all state machines of the product share.

A state machine is data: a table of transitions, and the set of pairs of phase and event that occur
in a healthy run and change nothing. A pair that is in neither cannot occur.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Generic, TypeVar

P = TypeVar("P", bound=Enum)
E = TypeVar("E", bound=Enum)
S = TypeVar("S")


class UnexpectedEventError(AssertionError):
    """A pair of phase and event that cannot occur: a bug of the caller or of the table."""


class StateMachine(Generic[P, E, S]):
    """A state machine whose table maps a phase and an event to a step."""

    def __init__(
        self,
        transitions: Mapping[tuple[P, E], S],
        ignored: AbstractSet[tuple[P, E]],
        *,
        unchanged: Callable[[P], S],
    ) -> None:
        """Use the table ``transitions``; ``unchanged(phase)`` is the step of an ignored pair."""
        self._transitions = transitions
        self._ignored = ignored
        self._unchanged = unchanged

    def step(self, phase: P, event: E) -> S:
        """Return the step that follows from ``event`` in ``phase``. Pure.

        Raises:
            UnexpectedEventError: The pair is neither in the table nor among the ignored ones.

        """
        if (phase, event) in self._ignored:
            return self._unchanged(phase)
        try:
            return self._transitions[phase, event]
        except KeyError:
            raise UnexpectedEventError(f"{event.name} in {phase.name}") from None
