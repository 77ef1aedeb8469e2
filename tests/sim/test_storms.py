"""Forty-five seconds of changing weather, fifty times. On failure, the seed is the reproduction."""

from __future__ import annotations

import pytest

from mgr.guard.actions import HAND_OVER_SLACK_S
from mgr.store.api import Delete
from tests.support.network_faults import KEYS, NetworkFault
from tests.support.simulation import Simulation

STORM_S = 45
RATE = 0.004
"""How much too fast or too slow a host's clock may run: two of them differ by less than 1 %."""
CALM_S = 10
"""Two leases."""


def clouds(world, name):
    """Everything that can happen to manager ``name``."""
    manager, rng = world.managers[name], world.rng
    seconds = rng.uniform(0.5, 12)

    def lose(network_fault):
        manager.wire.network_fault = network_fault

    def clear():
        manager.wire.network_fault = NetworkFault.NONE
        manager.wire.slow_s = 0.0

    def slow_down():
        manager.wire.slow_s = rng.uniform(0.02, 0.4)
        world.later(seconds, clear)

    def crash_guard():
        manager.kill()
        world.later(rng.uniform(0.1, 8), manager.start)

    def restart():
        manager.stop()
        world.later(14, lambda: None if manager.running else manager.start())

    def stubborn_resignation():
        manager.worker.stubborn = True
        world.resign(name)

    def cut(network_fault):
        lose(network_fault)
        world.later(seconds, clear)

    def help_out():
        if world.external and manager.worker.leading:
            manager.worker.start_helper()

    return [
        lambda: cut(NetworkFault.REQUEST_LOST),
        lambda: cut(NetworkFault.ANSWER_LOST),
        lambda: cut(NetworkFault.LATE),
        slow_down,
        lambda: world.freeze(name, seconds),
        lambda: world.freeze(f"{name}/worker", seconds),
        lambda: manager.worker.die("SIGSEGV"),
        crash_guard,
        restart,
        lambda: world.resign(name),
        lambda: world.resign(name, rng.choice(list(world.managers))),
        stubborn_resignation,
        lambda: world.freeze(name, seconds, alone=True),
        lambda: world.pause(name, seconds),
        help_out,
    ]


def change_the_network(world):
    """Let something happen, to one manager, to all, or to the store."""
    rng = world.rng
    name = rng.choice([n for n, m in world.managers.items() if m.running and m.worker])
    outages = [clouds(world, n)[0] for n in world.managers]
    hands = [
        lambda: world.write_as_operator(Delete(KEYS.leader)),
        lambda: [outage() for outage in outages],
        world.store.break_feeds,
    ]
    # The active is where it hurts.
    leader = world.leader_name()
    if leader in world.managers and world.managers[leader].running and rng.random() < 0.6:
        name = leader
    rng.choice(clouds(world, name) * 2 + hands)()


def ride_out(seed, *, external):
    """A storm, and the calm after it."""
    names = ("a", "b", "c", "d", "e")[: 2 + seed % 4]
    profile = {0: "off", 1: "fast"}.get(seed % 10, "default")
    with Simulation(*names, seed=seed, profile=profile, external=external) as world:
        for name in names:
            world.loop.set_rate(name, world.rng.uniform(1 - RATE, 1 + RATE))
        world.settle()
        end_s = world.clock.now() + STORM_S
        while world.clock.now() < end_s:
            world.run(world.rng.uniform(0.2, 6))
            if any(m.running and m.worker for m in world.managers.values()):
                change_the_network(world)
        world.clear_up()
        world.run(CALM_S + HAND_OVER_SLACK_S)

        assert len(world.active) == 1, world.phases
        assert world.checker.writes > 20


@pytest.mark.parametrize("seed", range(50))
def test_no_storm_lets_two_managers_act_and_calm_yields_one(seed):
    """Whatever happens: no overlap, no late write, terms grow; and then one leads again."""
    ride_out(seed, external=False)


@pytest.mark.parametrize("seed", range(30))
def test_no_storm_lets_modules_act_that_ask_nobody(seed):
    """The same with modules that act outside, and with processes that these have started."""
    ride_out(seed, external=True)
