"""A manager that cannot tell who its clients are never leads a cluster that wants to know it."""

from __future__ import annotations

import pytest

from mgr.access.protection import Protection, encode
from mgr.election.eligibility import CANNOT_AUTHENTICATE
from mgr.election.machine import Phase
from mgr.election.records import Presence, decode
from mgr.store.api import Put
from tests.support.network_faults import KEYS
from tests.support.simulation import Simulation


def protect(world, *, required=True):
    world.write_as_operator(Put(KEYS.protection, encode(Protection(required=required))))


def restart(world, name):
    manager = world.managers[name]
    manager.kill()
    world.until(lambda: not manager.running, 30)
    manager.start()


@pytest.mark.parametrize("seed", range(5))
def test_one_without_certificates_stands_by_and_says_why(seed):
    """Nobody takes it for a standby, also when it is the last one that lives."""
    with Simulation("a", "b", seed=seed) as world:
        world.authenticating.add("a")
        restart(world, "a")
        world.settle()
        protect(world)
        if world.active != ["a"]:
            # In life its worker hands over by itself; here nobody reads the record for it.
            world.resign(world.active[0])
        world.until(lambda: world.active == ["a"], 20)

        world.run(2)
        presence = world.loop.run_until_complete(world.store.get(KEYS.manager("b")))
        warm = decode(presence.value, Presence).warm
        world.managers["a"].kill()
        world.run(30)
        alone, phase = list(world.active), world.managers["b"].guard.phase
        note = world.managers["b"].worker.phase_message.note
        world.managers["a"].start()
        world.until(lambda: world.active == ["a"], 20)

    assert not warm
    assert alone == []
    assert phase is Phase.INELIGIBLE
    assert note == CANNOT_AUTHENTICATE


def test_a_record_that_nobody_can_read_protects():
    """To be safe: a newer release may have written it."""
    with Simulation("a") as world:
        world.settle()
        world.write_as_operator(Put(KEYS.protection, "[nonsense"))
        world.resign("a")
        world.run(10)

        assert world.active == []
        assert world.managers["a"].guard.phase is Phase.INELIGIBLE


def test_it_leads_again_once_nobody_wants_to_know():
    """Without a restart."""
    with Simulation("a") as world:
        protect(world)
        world.run(10)
        before = list(world.active)
        protect(world, required=False)
        world.settle()

        assert before == []
        assert world.active == ["a"]
