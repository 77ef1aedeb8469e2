"""What an operator's hand does to the keys of an election, and what becomes of it."""

from __future__ import annotations

import pytest

from mgr.election.records import Leader, decode
from mgr.store.api import NO_LEASE, Delete, Put
from tests.support.network_faults import KEYS
from tests.support.simulation import Simulation

TTL_S = 5
VALUES = ["spoilt", '{"name": "z"}', None]
"""What is written over the leader key; None: the very value that stands there."""


def overwrite(world, value):
    """Put the key without a lease, as ``etcdctl put`` does."""
    world.write_as_operator(Put(KEYS.leader, world.leader().value if value is None else value))
    assert world.leader().lease == NO_LEASE


@pytest.mark.parametrize("profile", ["default", "fast", "off"])
@pytest.mark.parametrize("value", VALUES)
def test_an_overwritten_leader_key_is_repaired_by_whoever_leads(profile, value):
    """The term is the same: the create revision is. The key has its lease again."""
    with Simulation("a", "b", profile=profile) as world:
        active = world.settle()
        before = world.leader()

        overwrite(world, value)
        world.until(lambda: world.leader().lease == before.lease, 1)
        world.run(2 * TTL_S)

        assert decode(world.leader().value, Leader).name == active.name
        assert world.leader().create_revision == before.create_revision
        assert world.active == [active.name]


@pytest.mark.parametrize("profile", ["default", "fast", "off"])
@pytest.mark.parametrize("value", VALUES)
def test_an_overwritten_leader_key_does_not_outlive_its_manager_for_ever(profile, value):
    """No lease removes it: a standby does, once nobody has shown life for a lease."""
    with Simulation("a", "b", profile=profile) as world:
        active = world.settle()
        world.write_as_operator(Delete(KEYS.deposed))

        active.kill()
        overwrite(world, value)
        world.until(lambda: set(world.active) - {active.name}, 3 * TTL_S)
        world.run(TTL_S)


def test_a_heartbeat_of_somebody_else_ends_the_term_without_a_certificate():
    """A machine was resumed twice from one snapshot: the copy may still act."""
    with Simulation("a", "b") as world:
        active = world.settle()
        term = active.guard.leadership.term

        world.write_as_operator(Put(KEYS.heartbeat, "the copy's"))
        world.until(lambda: world.checker.endings, 2)

        [ending] = world.checker.endings
        assert (ending.term, ending.quiesced) == (term, False)
        assert ending.window_s > 1.5
        world.until(lambda: len(world.active) == 1, 30)
        assert world.leader().create_revision > term
