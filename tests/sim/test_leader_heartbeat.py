"""The heartbeat on virtual time: a silent manager is replaced soon, a slow store deposes nobody."""

from __future__ import annotations

import msgspec
import pytest

from mgr.election import deposition
from mgr.election.deposition import GAP_S, GAPS_PER_TIMEOUT, POLLS_PER_GAP
from mgr.election.heartbeat import PROFILES
from mgr.election.machine import Phase
from mgr.election.records import Leader, TermRecord, decode
from tests.support.network_faults import KEYS, NetworkFault
from tests.support.simulation import Simulation

TTL_S = 5
LONG_TTL_S = 10
"""A lease that outlives the outage, whenever it was renewed last."""
ROUND_TRIPS_S = 0.05
"""Ten of them, on the simulated wire: reading, deposing, campaigning."""


def expected_s(profile):
    """The shortest and the longest time between a fault and the next leader key."""
    heartbeat = PROFILES[profile]
    look_s = max(GAP_S, heartbeat.timeout_s / GAPS_PER_TIMEOUT) / POLLS_PER_GAP
    limit_s = heartbeat.timeout_s * 1.01
    return limit_s - heartbeat.every_s - ROUND_TRIPS_S, limit_s + look_s + ROUND_TRIPS_S


def replaced(world, before, limit_s=2 * TTL_S):
    """How long it takes until another manager holds the key."""
    return world.until(lambda: world.leader_name() not in {before.name, None}, limit_s)


def term_record_of(world):
    """Return the term record."""
    return decode(
        world.loop.run_until_complete(world.store.get(KEYS.term_record)).value, TermRecord
    )


def heartbeat_timeout_of(world):
    """The window that standbys read."""
    return decode(world.leader().value, Leader).heartbeat_timeout_s


@pytest.mark.parametrize("profile", ["default", "fast"])
@pytest.mark.parametrize("seed", range(3))
def test_a_host_that_is_gone_is_replaced_within_a_window(profile, seed):
    """Guard and worker frozen: nobody there can give the key back, and no lease is waited for."""
    with Simulation("a", "b", "c", profile=profile, seed=seed) as world:
        before = world.settle()
        world.run(world.rng.uniform(0, 1))

        world.freeze(before.name, 30)
        took_s = replaced(world, before)

        least_s, most_s = expected_s(profile)
        assert least_s < took_s < most_s
        # It wakes in a later term: the judge sees that it neither acts nor writes.
        world.run(40)
        assert before.guard.phase is Phase.STANDBY
        assert len(world.active) == 1


@pytest.mark.parametrize(
    "network_fault", [NetworkFault.REQUEST_LOST, NetworkFault.ANSWER_LOST, NetworkFault.LATE]
)
def test_a_leader_that_is_cut_off_suspends_itself_and_is_deposed(network_fault):
    """In this order; and what it sent before it heard of that changes nothing."""
    with Simulation("a", "b", "c") as world:
        before = world.settle()

        before.wire.network_fault = network_fault
        world.until(lambda: before.guard.phase is Phase.SUSPENDED, 2)
        assert world.leader_name() == before.name
        # Heartbeats that arrive unheard are signs of life: the lease has to run out first.
        took_s = replaced(world, before, 3 * TTL_S)

        assert network_fault is not NetworkFault.REQUEST_LOST or took_s < 1
        world.run(TTL_S)


def test_without_a_heartbeat_the_lease_decides():
    """Nothing is written to prove life, and nobody is deposed."""
    with Simulation("a", "b", profile="off") as world:
        before = world.settle()
        assert world.loop.run_until_complete(world.store.get(KEYS.heartbeat)) is None

        world.freeze(before.name, 30)

        assert TTL_S - 1.1 < replaced(world, before) < TTL_S + 0.1
        assert world.checker.endings == []


def test_a_deposition_says_what_the_successor_must_wait_for():
    """Nothing: the window was outwaited before. But nobody was seen dead."""
    with Simulation("a", "b") as world:
        before = world.settle()
        term = before.guard.leadership.term

        world.freeze(before.name, 20)
        world.run(TTL_S)

        endings = [msgspec.structs.replace(each, ending=None) for each in world.checker.endings]
        assert endings == [
            TermRecord(term=term, name=before.name, reason="deposed", quiesced=False, window_s=0)
        ]


def test_a_standby_uses_the_window_of_the_leader_and_not_its_own():
    """One that is set faster does not depose a leader that is set slower."""
    with Simulation("a", profile="default") as world:
        before = world.settle()
        world.join("b", profile="fast")
        world.settle()

        before.wire.network_fault = NetworkFault.REQUEST_LOST
        # With the pause before and the last request's time-out: less than its own window.
        world.run(0.8)
        before.wire.network_fault = NetworkFault.NONE
        world.run(TTL_S)

        assert world.active == ["a"]


@pytest.mark.parametrize("profile", ["default", "fast"])
def test_a_store_that_was_away_for_everybody_deposes_nobody(profile):
    """Whoever was cut off itself knows nothing of the leader: its count begins again."""
    with Simulation("a", "b", "c", profile=profile, ttl_s=LONG_TTL_S) as world:
        before = world.settle()
        term = before.guard.leadership.term

        outage(world, before, PROFILES[profile].timeout_s)

        assert world.active == [before.name]
        assert before.guard.leadership.term == term


def test_without_the_rule_of_own_slowness_an_outage_would_depose(monkeypatch):
    """The rule is what the test before shows."""
    monkeypatch.setattr(deposition, "GAP_S", 60)
    monkeypatch.setattr(deposition, "POLLS_PER_GAP", 400)
    with Simulation("a", "b", "c") as world:
        before = world.settle()

        outage(world, before, 1.5)

        assert [ending.reason for ending in world.checker.endings] == ["deposed"]


def outage(world, leader, window_s):
    """The store is away for two windows; the standbys reach it first, the leader soon after."""
    leader.wire.network_fault = NetworkFault.REQUEST_LOST
    # So that everybody has seen its last heartbeat.
    world.run(0.2 * window_s)
    for manager in world.managers.values():
        manager.wire.network_fault = NetworkFault.REQUEST_LOST
    world.run(2 * window_s)
    for manager in world.managers.values():
        if manager is not leader:
            manager.wire.network_fault = NetworkFault.NONE
    world.run(0.4 * window_s)
    leader.wire.network_fault = NetworkFault.NONE
    world.run(3 * window_s)


def test_a_standby_that_slept_deposes_nobody():
    """What it did not hear meanwhile proves nothing."""
    with Simulation("a", "b") as world:
        before = world.settle()
        [standby] = set(world.managers) - {before.name}

        world.freeze(standby, 3)
        world.run(10)

        assert world.active == [before.name]
        assert world.checker.endings == []


def test_the_window_follows_the_gaps_between_heartbeats():
    """A slow store makes it longer, in the record first; when it is quick again, shorter."""
    with Simulation("a", "b") as world:
        active = world.settle()
        term = active.guard.leadership.term

        active.wire.slow_s = 0.6
        world.run(6)
        assert 3 < heartbeat_timeout_of(world) <= TTL_S
        assert term_record_of(world).window_s == pytest.approx(heartbeat_timeout_of(world) * 1.01)

        active.wire.slow_s = 0.0
        world.run(60)
        assert heartbeat_timeout_of(world) == 1.5
        assert term_record_of(world).window_s == pytest.approx(1.515)
        assert active.guard.leadership.term == term


def test_nothing_is_sent_for_a_worker_that_is_silent():
    """Its guard cannot kill it, so its manager has to be deposed."""
    with Simulation("a", "b") as world:
        before = world.settle()
        before.worker.kill = lambda: None

        world.freeze(f"{before.name}/worker", 60)
        took_s = replaced(world, before)

        assert 2 + 1.2 < took_s < 2 + 1.8


def test_depositions_are_rare():
    """The second within ten seconds is left to the lease."""
    with Simulation("a", "b", "c") as world:
        first = world.settle()
        world.freeze(first.name, 60)
        replaced(world, first)
        second = world.managers[world.leader_name()]
        world.until(lambda: second.guard.phase is Phase.ACTIVE, 2)

        world.freeze(second.name, 60)
        took_s = replaced(world, second)

        assert took_s > TTL_S - 1.1
        assert [ending.reason for ending in world.checker.endings] == ["deposed"]
