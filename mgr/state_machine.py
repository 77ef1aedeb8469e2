"""Looking up what follows from an event: the one rule that all state machines here share.

A machine is data: a table of answers, and the pairs of phase and event that come late in a healthy
run and mean nothing. What stands in neither cannot happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import TypeVar

P = TypeVar("P", bound=Enum)
E = TypeVar("E", bound=Enum)
S = TypeVar("S")


class UnexpectedEventError(AssertionError):
    """A pair of phase and event that cannot happen: a bug of the caller or of the table."""


def lookup(
    transitions: Mapping[tuple[P, E], S], ignored: AbstractSet[tuple[P, E]], phase: P, event: E
) -> S | None:
    """Return the answer to ``event``; None if it comes late: nothing changes. Pure.

    Raises:
        UnexpectedEventError: The pair is neither in ``transitions`` nor in ``ignored``.

    """
    if (phase, event) in ignored:
        return None
    try:
        return transitions[phase, event]
    except KeyError:
        raise UnexpectedEventError(f"{event.name} in {phase.name}") from None
