"""Two releases in one cluster: the newer one becomes the leader, and no older one after it."""

from __future__ import annotations

import pytest

from mgr.election.machine import Phase
from tests.support.network_faults import KEYS
from tests.support.simulation import Simulation

START_S = 5


def restart(world, name, release):
    """SIGTERM, and another release from the same command."""
    manager = world.managers[name]
    manager.stop()
    world.until(lambda: not manager.running, 30)
    world.releases[name] = release
    manager.start()
    world.run(START_S)


def last_leader_version(world):
    return world.loop.run_until_complete(world.store.get(KEYS.version)).value


@pytest.mark.parametrize("seed", range(5))
def test_a_rolling_upgrade_ends_with_everybody_fit(seed):
    """One after the other, in any order: one leads all the time but for moments."""
    with Simulation("a", "b", "c", seed=seed) as world:
        world.settle()
        led = []
        for name in world.rng.sample(["a", "b", "c"], 3):
            restart(world, name, "2")
            led.append(last_leader_version(world))

        world.settle()

        assert led == sorted(led)
        assert last_leader_version(world) == "2"
        assert len(world.active) == 1


def test_nobody_of_the_old_release_leads_after_the_new_one():
    """Its last manager dies: the others stand by, blocked, and say why."""
    with Simulation("a", "b", "c") as world:
        first = world.settle().name
        old = sorted({"a", "b", "c"} - {first})
        restart(world, old[0], "2")
        restart(world, first, "1")
        if old[0] not in world.active:
            world.resign(world.active[0], successor=old[0])
        world.until(lambda: world.active == [old[0]], 10)

        world.managers[old[0]].kill()
        world.run(30)

        assert world.active == []
        assert last_leader_version(world) == "2"
        for name in (first, old[1]):
            manager = world.managers[name]
            assert manager.guard.phase is Phase.INELIGIBLE
            assert "mgrd 2 has led here, this is 1" in manager.worker.phase_message.note


def test_an_operator_can_go_back():
    """With ``downgrade``, the old release leads, and the data is its own from then on."""
    with Simulation("a", seed=1) as world:
        world.releases["a"] = "2"
        restart(world, "a", "2")
        world.settle()
        restart(world, "a", "1")
        assert world.managers["a"].guard.phase is Phase.INELIGIBLE

        world.downgrade_allowed.add("a")
        restart(world, "a", "1")

        world.settle()
        assert last_leader_version(world) == "1"


def test_a_blocked_manager_leads_as_soon_as_it_may():
    """Nobody has to restart it when the other release has gone back."""
    with Simulation("a", "b") as world:
        world.settle()
        for name in ("a", "b"):
            restart(world, name, "2")
        world.downgrade_allowed.add("a")
        restart(world, "a", "1")
        restart(world, "b", "1")
        assert world.managers["b"].guard.phase is Phase.STANDBY

        world.managers["a"].kill()

        world.until(lambda: world.active == ["b"], 30)
