"""Modules that act outside and ask nobody, and processes that they start: ended in time.

What they are ended by is the kernel: a timer that the guard arms (``set_kill_timer``), and
whatever kills what a worker has started. Each scenario is run without it as well, and the judge
finds what happens then.
"""

from __future__ import annotations

import pytest

from tests.support.network_faults import NetworkFault, ViolationError
from tests.support.simulation import Simulation

TTL_S = 5


def cut_off(world, before):
    """Nothing of etcd comes back."""
    before.wire.network_fault = NetworkFault.REQUEST_LOST
    world.run(2 * TTL_S)


def guard_stops(world, before):
    """SIGSTOP of the guard alone: its worker hears nothing, and has a processor."""
    world.freeze(before.name, 2 * TTL_S, alone=True)
    world.run(3 * TTL_S)


def everything_stops(world, before):
    """SIGSTOP of guard and worker, who wake together in somebody else's term."""
    world.freeze(before.name, TTL_S)
    world.run(2 * TTL_S)


def cut_off_with_a_helper(world, before):
    """A module has started a process."""
    before.worker.start_helper()
    cut_off(world, before)


def worker_dies(world, before):
    """And leaves a process behind."""
    before.worker.start_helper()
    before.worker.die("SIGSEGV")
    world.run(2 * TTL_S)


def guard_dies(world, before):
    """With its worker, which leaves a process behind."""
    before.worker.start_helper()
    before.kill()
    world.run(2 * TTL_S)


def hand_over(world, before):
    """The worker exits in good order, and leaves a process behind."""
    before.worker.start_helper()
    world.resign(before.name)
    world.run(2 * TTL_S)


CLOCK = [cut_off, guard_stops, everything_stops, cut_off_with_a_helper]
LEFT_BEHIND = [worker_dies, guard_dies, hand_over]


@pytest.mark.parametrize("scenario", [*CLOCK, *LEFT_BEHIND])
@pytest.mark.parametrize("profile", ["default", "fast", "off"])
@pytest.mark.parametrize("seed", range(2))
def test_nothing_of_a_term_acts_in_the_next(scenario, profile, seed):
    """And somebody leads in the end."""
    with Simulation("a", "b", "c", seed=seed, profile=profile, external=True) as world:
        scenario(world, world.settle())
        world.clear_up()
        world.run(2 * TTL_S)

        assert len(world.active) == 1


@pytest.mark.parametrize("scenario", CLOCK)
@pytest.mark.parametrize("seed", range(2))
def test_without_the_timer_a_module_acts_in_the_next_term(scenario, seed):
    """The guard is cut off, frozen, or waits for its turn: only the kernel is there in time."""
    with (
        Simulation("a", "b", "c", seed=seed, external=True, timer=False) as world,
        pytest.raises(ViolationError, match="acts in term"),
    ):
        scenario(world, world.settle())


@pytest.mark.parametrize("scenario", LEFT_BEHIND)
@pytest.mark.parametrize("seed", range(2))
def test_without_a_reaper_a_process_acts_in_the_next_term(scenario, seed):
    """Nobody else knows of it."""
    with (
        Simulation("a", "b", "c", seed=seed, external=True, reaper=False) as world,
        pytest.raises(ViolationError, match="acts in term"),
    ):
        scenario(world, world.settle())


def test_an_active_that_proves_its_term_is_not_ended():
    """The timer is armed again with each proof."""
    with Simulation("a", "b", external=True) as world:
        before = world.settle()
        worker = before.worker

        world.run(10 * TTL_S)

        assert world.active == [before.name]
        assert before.worker is worker


def test_a_worker_without_such_modules_is_suspended_and_not_ended():
    """All it changes is in the store, which judges it."""
    with Simulation("a", "b", "c") as world:
        before = world.settle()
        worker = before.worker

        # For everybody, or a standby would depose it.
        for manager in world.managers.values():
            manager.wire.network_fault = NetworkFault.ANSWER_LOST
        world.run(2)
        for manager in world.managers.values():
            manager.wire.network_fault = NetworkFault.NONE
        world.run(1)

        assert not worker.dead
        assert before.worker is worker
