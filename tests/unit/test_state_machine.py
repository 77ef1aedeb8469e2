"""Every state machine of the product, walked as a table."""

from __future__ import annotations

from itertools import product

import pytest

from mgr.election import machine
from mgr.host import lifecycle
from mgr.state_machine import UnexpectedEventError

MACHINES = (machine, lifecycle)


@pytest.mark.parametrize("made", MACHINES, ids=lambda made: made.__name__)
def test_every_pair_is_answered_or_refused(made):
    """No pair is forgotten: each is in the table, or late, or a bug of the caller."""
    for phase, event in product(made.Phase, made.Event):
        if (phase, event) in made.TRANSITIONS:
            assert made.step(phase, event) == made.TRANSITIONS[phase, event]
        elif (phase, event) in made.IGNORED:
            assert made.step(phase, event) == made.Step(phase)
        else:
            with pytest.raises(UnexpectedEventError, match=f"{event.name} in {phase.name}"):
                made.step(phase, event)


@pytest.mark.parametrize("made", MACHINES, ids=lambda made: made.__name__)
def test_no_pair_is_both_answered_and_late(made):
    """One that is late would hide its answer."""
    assert not made.IGNORED & made.TRANSITIONS.keys()
