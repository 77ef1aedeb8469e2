"""Named faults on virtual time: each says what breaks and what must be true afterwards."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from mgr.election.machine import Phase
from mgr.election.records import TermRecord, decode
from mgr.guard.actions import YIELD_S
from mgr.link import Drained, Fenced, Ready, Started
from mgr.store import memory
from mgr.store.api import Delete, Put
from tests.support.network_faults import KEYS, NetworkFault
from tests.support.simulation import SimManager, Simulation

TTL_S = 5


def term_record_of(world):
    """Return the term record."""
    return decode(
        world.loop.run_until_complete(world.store.get(KEYS.term_record)).value, TermRecord
    )


def test_a_worker_that_dies_is_replaced_within_milliseconds():
    """Its guard reaps it and gives the key back: no lease has to run out."""
    with Simulation("a", "b", "c") as world:
        before = world.settle()

        before.worker.die("SIGKILL")
        took_s = world.until(lambda: world.leader_name() not in {before.name, None}, 0.9)

        assert took_s < 0.03
        world.until(lambda: world.active, 3)
        assert world.active != [before.name]


def test_the_death_of_a_worker_is_certified():
    """The successor reads that nothing of the term before acts any more."""
    with Simulation("a", "b") as world:
        before = world.settle()
        term = before.guard.leadership.term

        before.worker.die("SIGKILL")
        world.until(lambda: world.leader_name() is None, 0.9)

        record = term_record_of(world)
        assert msgspec.structs.replace(record, ending=None) == TermRecord(
            term=term, name=before.name, reason="reaped", quiesced=True, window_s=0
        )
        assert record.ending.cause == "SIGKILL"
        world.settle()


def test_a_leader_that_died_stands_by_again_with_a_fresh_worker():
    """The guard outlives its worker and starts a clean one."""
    with Simulation("a", "b") as world:
        before = world.settle()
        old = before.worker

        old.die("SIGKILL")
        world.run(5)

        assert before.guard.phase is Phase.STANDBY
        assert before.worker is not old
        assert before.worker.incarnation != old.incarnation


def test_a_worker_is_started_anew_when_the_successor_had_time_to_start():
    """A second of processor for an interpreter and its imports would come out of the failover."""
    with Simulation("a", "b") as world:
        before = world.settle()
        old = before.worker

        old.die("SIGKILL")

        anew_s = world.until(lambda: before.worker not in {old, None}, 5)
        assert world.leader_name() not in {before.name, None}
        assert YIELD_S <= anew_s < YIELD_S + 0.1


def test_a_worker_with_nobody_to_make_way_for_is_started_at_once():
    """The only manager hurries: it is its own successor."""
    with Simulation("a") as world:
        before = world.settle()
        old = before.worker

        old.die("SIGKILL")

        assert world.until(lambda: before.worker not in {old, None}, 5) < 0.1


def test_a_frozen_worker_is_killed_by_its_guard():
    """The watchdog turns "perhaps alive" into "certainly dead", after a dump of its stacks."""
    with Simulation("a", "b") as world:
        before = world.settle()

        world.freeze(f"{before.name}/worker", 60)
        took_s = world.until(lambda: world.leader_name() not in {before.name, None}, 5)

        assert 1.4 < took_s < 2.1
        assert world.dumps == 1
        world.run(5)


@pytest.mark.parametrize("network_fault", [NetworkFault.REQUEST_LOST, NetworkFault.ANSWER_LOST])
def test_a_leader_cut_off_from_the_store_is_replaced(network_fault):
    """Whichever way the cable breaks, it suspends itself first and somebody else leads then."""
    with Simulation("a", "b", "c") as world:
        before = world.settle()

        before.wire.network_fault = network_fault
        world.until(lambda: before.guard.phase is Phase.SUSPENDED, TTL_S)
        assert world.leader_name() == before.name
        world.run(2 * TTL_S)

        assert before.name not in world.active
        assert len(world.active) == 1


def test_a_short_outage_of_the_store_is_a_pause_not_a_failover():
    """Suspended past its deadline, the active resumes the same term with its modules warm."""
    with Simulation("a", "b") as world:
        before = world.settle()
        term, worker = before.guard.leadership.term, before.worker
        world.run(0.1)

        # Renewals arrive, so the lease lives, and nobody hears the answers.
        for manager in world.managers.values():
            manager.wire.network_fault = NetworkFault.ANSWER_LOST
        world.until(lambda: before.guard.phase is Phase.SUSPENDED, TTL_S)
        for manager in world.managers.values():
            manager.wire.network_fault = NetworkFault.NONE
        world.until(lambda: before.guard.phase is Phase.ACTIVE, 2)

        assert before.guard.leadership.term == term
        assert before.worker is worker
        assert not worker.dead


def test_a_manager_frozen_for_a_minute_finds_itself_replaced():
    """Guard and worker sleep and wake together; neither acts nor writes in the old term."""
    with Simulation("a", "b") as world:
        before = world.settle()

        world.freeze(before.name, 60)
        world.run(59)
        [successor] = [name for name in world.active if name != before.name]
        world.run(10)

        assert world.active == [successor]
        assert before.guard.phase is Phase.STANDBY


def test_a_guard_that_dies_takes_its_worker_along_and_its_lease_runs_out():
    """The backstop: the lease, and after it a successor that waits for no certificate."""
    with Simulation("a", "b") as world:
        before = world.settle()

        before.kill()
        took_s = world.until(lambda: world.leader_name() not in {before.name, None}, 2 * TTL_S)

        assert before.worker.dead
        assert took_s < TTL_S + 1
        world.run(10)


def test_a_restarted_guard_takes_its_name_over_at_once():
    """Its predecessor died on the same host: there is no lease to wait for."""
    with Simulation("a", "b") as world:
        before = world.settle()
        before.kill()

        before.start()
        took_s = world.until(lambda: world.leader_name() is not None, 1)

        assert took_s < 0.1
        world.settle()


def test_two_managers_of_one_name_do_not_both_run():
    """The second waits out the lease, then refuses and says who has the name."""
    with Simulation("a", "b") as world:
        world.settle()

        imposter = SimManager("a", world, host="another")
        world.until(lambda: imposter.failure is not None, TTL_S + 3)

        assert "manager 'a' is running already" in str(imposter.failure)
        assert "on host a " in str(imposter.failure)
        assert not imposter.running
        world.settle()


def test_a_leader_key_deleted_by_hand_ends_the_term_at_once():
    """The watch tells it; the worker retires; a later term begins."""
    with Simulation("a", "b") as world:
        before = world.settle()
        term, worker = before.guard.leadership.term, before.worker

        world.write_as_operator(Delete(KEYS.leader))
        took_s = world.until(lambda: worker.dead, 0.6)
        world.run(2 * TTL_S)

        assert took_s < 0.02

        assert world.leader().create_revision > term
        assert len(world.active) == 1


def test_a_resignation_hands_over_to_the_named_successor():
    """Not to whoever is quickest, twenty times in a row."""
    with Simulation("a", "b", "c") as world:
        for _ in range(20):
            before = world.settle()
            names = sorted(set(world.managers) - {before.name})
            wanted = world.rng.choice(names)

            world.resign(before.name, wanted)
            took_s = world.until(lambda wanted=wanted: world.leader_name() == wanted, 0.9)

            assert took_s < 0.05


def test_a_successor_that_does_not_exist_holds_nobody_up():
    """The others leave it a head start of 200 ms, no more."""
    with Simulation("a", "b") as world:
        before = world.settle()

        world.resign(before.name, "nobody")
        took_s = world.until(lambda: world.leader_name() not in {before.name, None}, 0.9)

        assert 0.15 < took_s < 0.4
        world.settle()


def test_a_worker_that_will_not_drain_is_killed_before_the_key_is_given_back():
    """Its modules go on acting until the kill: nobody else leads before that."""
    with Simulation("a", "b") as world:
        before = world.settle()
        before.worker.stubborn = True

        world.resign(before.name)
        took_s = world.until(lambda: world.leader_name() not in {before.name, None}, 10)

        assert took_s > 2
        assert term_record_of(world).quiesced or world.leader_name()
        world.settle()


def test_a_stopped_manager_hands_over_and_leaves_nothing_behind():
    """SIGTERM: drain, give the key back, give the lease back, end."""
    with Simulation("a", "b") as world:
        before = world.settle()

        before.stop()
        world.until(lambda: world.leader_name() not in {before.name, None}, 0.9)
        world.until(lambda: not before.running, 8)

        listing = world.loop.run_until_complete(world.store.list(KEYS.managers))
        assert [r.key for r in listing.records] == [
            KEYS.manager(n) for n in world.managers if n != before.name
        ]
        assert before.worker.dead


def test_a_second_signal_stops_at_once():
    """No drain, no patience; still the worker is dead before the key is free."""
    with Simulation("a", "b") as world:
        before = world.settle()
        before.worker.stubborn = True

        before.stop()
        world.run(0.1)
        before.stop()

        assert world.until(lambda: not before.running, 0.9) < 0.1


def test_a_manager_stops_although_the_store_is_away():
    """It gives up after a moment; its lease runs out by itself."""
    with Simulation("a", "b") as world:
        before = world.settle()
        before.wire.network_fault = NetworkFault.REQUEST_LOST

        before.stop()

        world.until(lambda: not before.running, 15)


def test_managers_wait_for_a_store_that_is_away_when_they_start():
    """Nobody leads by belief, and everything begins by itself."""
    with Simulation("a", "b") as world:
        for manager in world.managers.values():
            manager.wire.network_fault = NetworkFault.REQUEST_LOST
        world.run(30)
        assert world.active == []

        for manager in world.managers.values():
            manager.wire.network_fault = NetworkFault.NONE
        world.settle()


def test_an_attempt_that_came_through_late_is_found_and_used():
    """The answer to the creation of the key is lost: the winner must not block everybody."""
    with Simulation("a") as world:
        manager = world.managers["a"]
        world.until(lambda: manager.guard.phase is Phase.WARMING, 5)
        world.run(0.1)

        manager.wire.network_fault = NetworkFault.ANSWER_LOST
        world.until(lambda: world.leader_name() == "a", 5)
        manager.wire.network_fault = NetworkFault.NONE

        world.until(lambda: world.active == ["a"], 5)


def test_a_worker_that_crashes_again_and_again_is_started_ever_more_rarely():
    """Three crashes are free; then the pauses grow, and it does not campaign meanwhile."""
    with Simulation("a", "b") as world:
        world.settle()
        a = world.managers["a"]
        starts = []
        for _ in range(8):
            world.until(lambda: a.guard.phase in {Phase.STANDBY, Phase.ACTIVE}, 60)
            starts.append(world.clock.now())
            a.worker.die("SIGSEGV")
            world.run(0.01)
        gaps = [later - earlier for earlier, later in pairwise(starts)]

        assert max(gaps[:2]) < 1.5
        assert gaps[-1] > 15
        assert gaps[2:] == sorted(gaps[2:])


def test_a_word_of_the_worker_out_of_turn_decides_nothing():
    """It is logged; guard and worker go on."""
    with Simulation("a", "b") as world:
        active = world.settle()
        term = active.guard.leadership.term

        active.worker.send_to_guard(Drained(term=term, quiesced=True))
        active.worker.send_to_guard(Started(term=term - 1))
        active.worker.send_to_guard(Fenced(term=term - 1))
        world.run(1)

        assert world.active == [active.name]
        assert not active.worker.dead


def test_a_worker_that_was_fenced_is_over():
    """The store refused a write of its term: nothing more definite can be heard."""
    with Simulation("a", "b") as world:
        active = world.settle()
        worker = active.worker

        worker.send_to_guard(Fenced(term=active.guard.leadership.term))
        world.run(0.1)

        assert worker.dead
        world.settle()


def test_a_worker_that_never_becomes_warm_is_replaced():
    """Its loop turns and it is not ready: that counts as silence, after the limit of a start."""
    with Simulation("a") as world:
        manager = world.managers["a"]
        world.until(lambda: manager.worker is not None, 1)
        stuck = manager.worker
        stuck.send_to_guard = lambda _message: None

        world.run(34)
        assert not stuck.dead
        world.run(4)

        assert stuck.dead
        world.settle()


def test_a_worker_that_cannot_become_warm_for_want_of_a_store_is_left_alone():
    """Killing it would not bring the store back."""
    with Simulation("a") as world:
        manager = world.managers["a"]
        world.until(lambda: manager.worker is not None, 1)
        waiting = manager.worker
        said, waiting.send_to_guard = waiting.send_to_guard, lambda _message: None
        manager.wire.network_fault = NetworkFault.REQUEST_LOST

        world.run(120)
        assert not waiting.dead

        manager.wire.network_fault = NetworkFault.NONE
        waiting.send_to_guard = said
        waiting.send_to_guard(Ready(grpc_address="a:1", http_address=""))
        world.settle()
        assert not waiting.dead


def test_an_etcd_too_old_is_not_led_on_and_an_upgrade_is_noticed(monkeypatch):
    """The managers stand by and say why; nobody has to restart them afterwards."""
    monkeypatch.setattr(memory, "VERSION", "3.5.1")
    with Simulation("a", "b") as world:
        a = world.managers["a"]
        world.run(20)
        assert world.phases == {"a": "INELIGIBLE", "b": "INELIGIBLE"}
        assert world.leader() is None
        assert a.worker.phase_message.phase == "ineligible"
        assert "etcd 3.5.1" in a.worker.phase_message.note

        monkeypatch.setattr(memory, "VERSION", "3.6.14")
        world.run(20)

        assert len(world.active) == 1


def test_systemd_hears_of_readiness_of_each_phase_and_of_the_end():
    """READY once it is warm, STATUS always, STOPPING when it was told to go."""
    with Simulation("a") as world:
        manager = world.settle()
        manager.stop()
        world.until(lambda: not manager.running, 8)

        messages = manager.systemd.messages
        assert (
            messages.index("STATUS=warming")
            < messages.index("READY=1")
            < messages.index("STATUS=active")
        )
        assert messages.index("STATUS=active") < messages.index("STOPPING=1")


def test_nobody_leads_while_the_managers_are_set_down():
    """Not after a crash, not after a restart; with the record gone, one leads at once."""
    with Simulation("a", "b", "c") as world:
        active = world.settle()
        world.loop.run_until_complete(world.store.commit([Put(KEYS.down, "since then")]))
        active.worker.die("SIGKILL")
        world.until(lambda: world.leader_name() is None, 1)
        world.run(3)
        world.managers["b"].kill()
        world.run(1)
        world.managers["b"].start()
        world.run(20)
        assert world.leader_name() is None
        assert all(each.guard.phase is Phase.STANDBY for each in world.managers.values())

        world.loop.run_until_complete(world.store.commit([Delete(KEYS.down)]))
        took_s = world.until(world.leader_name, 1)

    assert took_s < 0.1
