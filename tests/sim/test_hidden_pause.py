"""A virtual machine is paused, and no clock of it counts the pause: the limit of every lease.

The boot clock goes on afterwards as if nothing had been, so that neither a deadline nor the
kernel's timer has passed. What comes late then must be refused by whatever compares terms.
"""

from __future__ import annotations

import pytest

from tests.support.network_faults import NetworkFault
from tests.support.simulation import Simulation

TTL_S = 5


def paused(world, network_fault=NetworkFault.NONE):
    """The active is paused until another one leads, and wakes, in such weather at first."""
    before = world.settle()
    world.pause(before.name, 2 * TTL_S)
    world.run(TTL_S)
    assert set(world.active) - {before.name}, "nobody took over"
    before.wire.network_fault = network_fault
    world.run(TTL_S + 1)
    before.wire.network_fault = NetworkFault.NONE
    world.run(2 * TTL_S)


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_no_write_lands_and_one_leads(external, seed):
    """Whoever wakes learns at once from the store that its term is over, and retires."""
    with Simulation("a", "b", "c", seed=seed, external=external) as world:
        paused(world)

        assert len(world.active) == 1


@pytest.mark.parametrize("external", [False, True])
def test_effects_outside_can_come_late(external):
    """Its network is back later than its processor: until then it has no reason to doubt."""
    with Simulation("a", "b", "c", external=external) as world:
        paused(world, network_fault=NetworkFault.REQUEST_LOST)

        assert world.checker.late_effects


def test_a_paused_standby_deposes_nobody():
    """Its clock is behind, so that it waits too long and not too short."""
    with Simulation("a", "b") as world:
        before = world.settle()
        term = before.guard.leadership.term
        [standby] = set(world.managers) - {before.name}

        for _ in range(5):
            world.pause(standby, 2.0)
            world.run(3.0)

        assert world.active == [before.name]
        assert before.guard.leadership.term == term
