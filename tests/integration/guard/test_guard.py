"""Real guards, real processes, a real etcd: every way in which a term ends."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from mgr.election.records import Presence
from mgr.store.api import Delete
from tests.support import process

pytestmark = pytest.mark.etcd


async def test_a_killed_worker_is_reaped_and_another_manager_leads(team):
    """At once: no lease runs out. The end is certified, the guard starts a clean worker."""
    a, _ = await team.pair(lease_ttl_s=10)
    term, worker = await team.term(), a.worker

    os.kill(worker, signal.SIGKILL)
    took_s = await team.until(lambda: team.leads("b"))

    assert took_s < 2
    await team.until(lambda: team.warm("a"))
    assert a.worker not in {None, worker}
    assert a.has_logged("how=SIGKILL")
    assert a.has_logged(f"leadership released term={term} reason=reaped")


async def test_the_helpers_of_a_dead_worker_die_before_the_key_is_given_back(team):
    """What modules start belongs to the worker's process group."""
    a, _ = await team.pair("helper")
    await team.until(lambda: a.worker and process.children(a.worker))
    [helper] = process.children(a.worker)

    os.kill(a.worker, signal.SIGKILL)
    await team.until(lambda: team.leads("b"))

    assert process.gone(helper)


async def test_a_frozen_worker_is_dumped_killed_and_replaced(team):
    """SIGSTOP: the watchdog makes "perhaps alive" into "certainly dead"."""
    a, _ = await team.pair(lease_ttl_s=10)
    worker = a.worker

    os.kill(worker, signal.SIGSTOP)
    took_s = await team.until(lambda: team.leads("b"))

    assert 0.4 < took_s < 3
    assert process.gone(worker)
    assert a.has_logged("no heartbeat from worker: dumping its stacks")
    assert a.has_logged("reason=watchdog")


async def test_a_killed_guard_takes_its_worker_along(team):
    """Without heartbeats the lease expires; there is no term record."""
    a, _ = await team.pair(profile="off")
    worker = a.worker

    a.signal(signal.SIGKILL)
    await team.until(lambda: process.gone(worker), 2)
    await team.until(lambda: team.leads("b"), 5)

    term_record = await team.term_record()
    assert not term_record.quiesced
    assert term_record.window_s == pytest.approx(2.02)


async def test_a_guard_that_is_started_again_takes_over_what_it_left(team):
    """Its process is dead and on this host, so there is no lease to wait for."""
    a = team.start("a", lease_ttl_s=20)
    await team.until(lambda: team.leads("a"))
    a.signal(signal.SIGKILL)
    await team.until(lambda: a.status is not None)
    before = await team.term()

    team.start("a", lease_ttl_s=20)

    async def leads_again():
        return await team.leads("a") and await team.term() > before

    assert await team.until(leads_again) < 10


async def test_a_terminated_manager_hands_over_and_leaves_nothing_behind(team):
    """Drained, released, revoked; the exit status is 0."""
    a, _ = await team.pair(lease_ttl_s=10)
    worker = a.worker

    a.signal(signal.SIGTERM)
    await team.until(lambda: team.leads("b"), 5)
    await team.until(lambda: a.status is not None, 5)

    assert a.status == 0
    assert process.gone(worker)
    assert await team.read(team.keys.manager("a"), Presence) is None
    assert a.has_logged("reason=resigned")


async def test_a_second_signal_does_not_wait_for_the_drain(team):
    """The worker is killed; the key is given back all the same."""
    a, _ = await team.pair("stubborn", drain_s=30, lease_ttl_s=10)

    a.signal(signal.SIGTERM)
    await team.until(lambda: a.has_logged("phase=DRAINING"), 5)
    a.signal(signal.SIGINT)
    await team.until(lambda: a.status is not None, 5)

    assert a.status == 0
    await team.until(lambda: team.leads("b"), 5)


@pytest.mark.parametrize("words", ["stubborn", "unquiesced"])
async def test_a_drain_that_fails_ends_by_killing_before_releasing(team, words):
    """Late or not quiesced: the worker is dead before the key is free."""
    a, _ = await team.pair(words, lease_ttl_s=10)

    a.signal(signal.SIGTERM)
    await team.until(lambda: team.leads("b"), 5)
    await team.until(lambda: a.status is not None, 5)

    story = a.log.read_text()
    assert story.index("phase=KILLING_WORKER") < story.index("how=SIGKILL")
    assert story.index("phase=RELEASING") < story.index("leadership released")
    assert a.has_logged("reason=reaped")


async def test_a_worker_that_asks_to_resign_is_replaced_by_a_clean_one(team):
    """The manager stays: it stands by again, with another worker."""
    a, b = await team.pair()
    assert b.worker
    c = team.start("c", "resign")
    await team.until(lambda: team.warm("c"))
    first = c.worker
    a.signal(signal.SIGTERM)
    b.signal(signal.SIGTERM)

    await team.until(lambda: c.has_logged("reason=resigned"))

    await team.until(lambda: c.worker not in {None, first})
    assert c.status is None


async def test_a_second_manager_of_a_name_refuses_and_says_who_has_it(team):
    """After having waited out a lease: EEXIST, in one line."""
    a = team.start("a")
    await team.until(lambda: team.leads("a"))

    second = team.start("a")
    await team.until(lambda: second.status is not None)

    assert second.status == errno.EEXIST
    assert second.has_logged(f"mgrd: manager 'a' is running already: process {a.pid} on host")
    assert await team.leads("a")
    assert second.worker is None


async def test_a_leader_key_deleted_by_hand_costs_the_term(team):
    """The watch tells it at once; the worker that led is gone."""
    a = team.start("a")
    await team.until(lambda: team.leads("a"))
    term, worker = await team.term(), a.worker

    await team.store.commit([Delete(team.keys.leader)])
    await team.until(lambda: process.gone(worker), 2)

    await team.until(lambda: team.leads("a"))
    assert await team.term() > term


async def test_a_revoked_lease_costs_name_and_term(team):
    """An operator's hand; the manager joins again by itself."""
    a = team.start("a")
    await team.until(lambda: team.leads("a"))
    record, worker = await team.store.get(team.keys.leader), a.worker

    await team.store.revoke(record.lease)
    await team.until(lambda: process.gone(worker), 3)

    await team.until(lambda: team.leads("a"))
    await team.until(lambda: team.warm("a"))
    assert (await team.store.get(team.keys.leader)).lease != record.lease


async def test_a_worker_that_crashes_at_once_is_started_ever_more_rarely(team):
    """The pauses are logged, and the guard itself does not mind."""
    a = team.start("a", "crash")

    await team.until(lambda: a.has_logged("pause_s=2.0"))

    assert a.has_logged("how=SIGABRT")
    assert a.status is None


async def test_a_worker_that_cannot_be_understood_is_killed(team):
    """Whatever it is, it is not to lead."""
    a = team.start("a", "gibberish")

    await team.until(lambda: a.has_logged("unreadable line from the worker"))
    await team.until(lambda: a.has_logged("how=SIGKILL"))


async def test_an_etcd_that_is_away_is_waited_for(team, own_etcd):
    """At the start and later: all begins by itself, and the term survives a short absence."""
    team.etcd = own_etcd
    await team.store.close()
    team.store = type(team.store)(own_etcd.endpoints)
    own_etcd.kill()
    a = team.start("a", lease_ttl_s=5)
    await team.until(lambda: a.has_logged("the store fails, retrying"))
    # Its worker opens the HTTP port, so that nobody takes this manager for dead.
    await team.until(lambda: a.worker)

    own_etcd.start()
    own_etcd.wait_ready()
    await team.until(lambda: a.has_logged("phase=ACTIVE"))
    term, worker = await team.term(), a.worker

    # Killed, not frozen: an etcd that starts gives every lease its whole life again. One that was
    # frozen may find the lease at its end, and to lose the term is then right.
    own_etcd.kill()
    await team.until(lambda: a.has_logged("phase=SUSPENDED"))
    assert a.has_logged("WARNING a/guard mgr.guard.loop: phase changed phase=SUSPENDED")
    own_etcd.start()
    own_etcd.wait_ready()
    await team.until(lambda: a.has_logged("phase=ACTIVE before=SUSPENDED"))

    assert await team.term() == term
    assert a.worker == worker
