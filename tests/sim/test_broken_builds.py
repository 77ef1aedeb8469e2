"""A safety property that no test can lose is not tested: each is broken here on purpose.

Every scenario runs twice. As built, the judge finds nothing; with one protection taken out, it
does. So the scenarios bite, and the judge sees.
"""

from __future__ import annotations

import pytest

from mgr.election import machine
from mgr.election.heartbeat import AdaptiveHeartbeat
from mgr.election.leader_key import LeaderKey
from mgr.election.machine import Action, Event, Phase, Step
from mgr.election.timing import Timing
from mgr.guard import leader_monitor
from mgr.store.api import Delete
from tests.support.network_faults import KEYS, NetworkFault, Unguarded, ViolationError
from tests.support.simulation import Simulation

TTL_S = 5


def sound(_monkeypatch):
    """Everything as built."""
    return {}


def without_the_guard_compare(_monkeypatch):
    """Writes do not carry the proof of their term."""
    return {"broken_store": Unguarded}


def without_the_local_deadline(monkeypatch):
    """An active that has only its lease believes in itself for ever."""
    monkeypatch.setattr(Timing, "deadline_s", lambda _timing, _sent_s: float("inf"))
    return {"profile": "off"}


def without_the_deadline_of_a_heartbeat(monkeypatch):
    """An active that has sent a heartbeat believes in itself for ever."""
    monkeypatch.setattr(AdaptiveHeartbeat, "deadline_s", lambda _heartbeat, _sent_s: float("inf"))
    return {}


def with_the_standbys_own_window(monkeypatch):
    """A standby deposes by its own setting and not by the leader's record."""
    monkeypatch.setattr(leader_monitor, "heartbeat_timeout_s", lambda _leader: 0.5)
    return {}


def with_a_longer_window_that_nobody_is_reported(monkeypatch):
    """The active uses what does not stand in its record yet."""

    async def write_heartbeat_timeout(_leader_key, _heartbeat_timeout_s, _window_s, *, timeout_s):
        del timeout_s
        return True

    monkeypatch.setattr(LeaderKey, "write_heartbeat_timeout", write_heartbeat_timeout)
    return {}


def without_the_second_gate(monkeypatch):
    """A winner acts outside at once, whatever its predecessor may still do."""
    open_term_record = LeaderKey.open_term_record

    async def hasty(leader_key, window_s, **options):
        signed = await open_term_record(leader_key, window_s, **options)
        return None if signed is None else 0.0

    monkeypatch.setattr(LeaderKey, "open_term_record", hasty)
    return {}


def with_release_before_kill(monkeypatch):
    """A worker that will not drain is not killed before the key is given back."""
    broken = dict(machine.TRANSITIONS)
    broken[Phase.DRAINING, Event.OVERDUE] = Step(Phase.HANDING_OVER, Action.RELEASE)
    monkeypatch.setattr(machine.step.__self__, "_transitions", broken)
    return {}


def with_certificates_for_strangers(monkeypatch):
    """A term certifies as over what it had not outwaited itself."""
    release = LeaderKey.release

    async def hasty(leader_key, reason, *, left_s, **more):
        del left_s
        return await release(leader_key, reason, left_s=0.0, **more)

    monkeypatch.setattr(LeaderKey, "release", hasty)
    return {}


def a_write_is_held_up_on_its_way(world):
    """It arrives when a successor leads."""
    before = world.settle()
    before.wire.network_fault = NetworkFault.LATE
    world.run(0.5)
    before.wire.network_fault = NetworkFault.NONE
    before.worker.die("SIGKILL")
    world.run(TTL_S)


def the_active_is_cut_off(world):
    """Nothing comes back, and its modules go on."""
    before = world.settle()
    before.wire.network_fault = NetworkFault.REQUEST_LOST
    world.run(3 * TTL_S)


def heartbeats_become_rare(world):
    """Most are lost on their way, and in the end all."""
    before = world.settle()
    for _ in range(6):
        before.wire.network_fault = NetworkFault.REQUEST_LOST
        world.run(0.3)
        before.wire.network_fault = NetworkFault.NONE
        world.run(1.0)
    before.wire.network_fault = NetworkFault.REQUEST_LOST
    world.run(2 * TTL_S)


def a_cut_off_active_loses_its_key(world):
    """By an operator's hand, long before its deadline."""
    before = world.settle()
    before.wire.network_fault = NetworkFault.REQUEST_LOST
    world.write_as_operator(Delete(KEYS.leader))
    world.run(TTL_S)


def a_module_does_not_stop(world):
    """It goes on acting while the manager is to hand over."""
    before = world.settle()
    before.worker.stubborn = True
    world.resign(before.name)
    world.run(TTL_S)


def a_short_term_follows_an_unheard_of_end(world):
    """The key of a manager that is cut off is deleted by hand, and its successor resigns soon."""
    before = world.settle()
    before.wire.network_fault = NetworkFault.REQUEST_LOST
    world.write_as_operator(Delete(KEYS.leader))
    world.until(lambda: set(world.active) - {before.name}, 2)
    [successor] = set(world.active) - {before.name}
    world.resign(successor)
    world.run(TTL_S)


BREAKS = [
    (without_the_guard_compare, a_write_is_held_up_on_its_way, "a write of term"),
    (without_the_local_deadline, the_active_is_cut_off, "acts in term"),
    (without_the_deadline_of_a_heartbeat, the_active_is_cut_off, "was deposed"),
    (with_the_standbys_own_window, the_active_is_cut_off, "was deposed"),
    (with_a_longer_window_that_nobody_is_reported, heartbeats_become_rare, "was deposed"),
    (without_the_second_gate, a_cut_off_active_loses_its_key, "acts in term"),
    (with_release_before_kill, a_module_does_not_stop, "recorded as over"),
    (with_certificates_for_strangers, a_short_term_follows_an_unheard_of_end, "acts in term"),
]


@pytest.mark.parametrize(("broken", "scenario", "finding"), BREAKS)
@pytest.mark.parametrize("seed", range(3))
def test_a_protection_taken_out_is_found_out(monkeypatch, broken, scenario, finding, seed):
    """The judge reports what the missing protection let happen."""
    with (
        Simulation("a", "b", "c", seed=seed, **broken(monkeypatch)) as world,
        pytest.raises(ViolationError, match=finding),
    ):
        scenario(world)


@pytest.mark.parametrize("scenario", list(dict.fromkeys(each[1] for each in BREAKS)))
@pytest.mark.parametrize("seed", range(3))
def test_the_same_scenario_harms_nothing_as_built(monkeypatch, scenario, seed):
    """With every protection in its place the judge finds nothing, and one leads in the end."""
    with Simulation("a", "b", "c", seed=seed, **sound(monkeypatch)) as world:
        scenario(world)

        world.clear_up()
        world.run(2 * TTL_S)
        assert len(world.active) == 1
