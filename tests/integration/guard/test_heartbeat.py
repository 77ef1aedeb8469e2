"""The leader heartbeat between real processes, over a real etcd."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from mgr.election.records import Leader
from tests.support import process

pytestmark = pytest.mark.etcd

FAST = {"profile": "fast", "watchdog_s": 0.3, "lease_ttl_s": 10}
LEASE_S = 10
ELECTED_WITHIN_S = 3


async def test_a_manager_whose_host_froze_is_deposed_and_wakes_as_a_stranger(team):
    """SIGSTOP of guard and worker: another one leads long before the lease is over."""
    a, b = await team.pair(**FAST)
    await asyncio.sleep(0.5)
    term, worker = await team.term(), a.worker

    a.signal(signal.SIGSTOP)
    os.kill(worker, signal.SIGSTOP)
    took_s = await team.until(lambda: team.leads("b"))

    assert 0.3 < took_s < LEASE_S / 2
    assert b.has_logged(f"leader heartbeat timed out: leader deposed term={term}")
    os.kill(worker, signal.SIGCONT)
    a.signal(signal.SIGCONT)
    await team.until(lambda: team.warm("a"))
    await team.until(lambda: process.gone(worker))
    assert await team.leader() == "b"


async def test_a_killed_guard_is_missed_by_its_heartbeat(team):
    """Its worker dies with it, and nobody waits for the lease."""
    a, _ = await team.pair(**FAST)
    await asyncio.sleep(0.5)

    a.signal(signal.SIGKILL)
    took_s = await team.until(lambda: team.leads("b"))

    assert took_s < LEASE_S / 2
    assert (await team.term_record()).reason in {"deposed", "leading"}


async def test_heartbeats_are_written_and_their_timeout_stands_in_the_record(team):
    """What others count by is what the leader wrote, and it moves."""
    await team.pair(profile="default", lease_ttl_s=LEASE_S, watchdog_s=2)
    leader = await team.read(team.keys.leader, Leader)
    first = await team.store.get(team.keys.heartbeat)

    assert leader.heartbeat_timeout_s >= 1.5
    await asyncio.sleep(1.0)
    later = await team.store.get(team.keys.heartbeat)
    assert later.mod_revision > first.mod_revision
    assert (later.create_revision, later.lease) == (first.create_revision, 0)
    assert await team.leader() == "a"


async def test_etcds_that_die_one_after_another_change_nobody(team_of_three, etcd_cluster):
    """One of them was their leader: the active pauses at worst, and goes on in the same term."""
    team = team_of_three
    await team.pair(profile="default", lease_ttl_s=LEASE_S, watchdog_s=2)
    term = await team.term()

    for member in etcd_cluster.members:
        member.kill()
        await asyncio.sleep(ELECTED_WITHIN_S)
        member.start()
        member.wait_ready()
        await asyncio.sleep(ELECTED_WITHIN_S / 2)

    before = await team.store.get(team.keys.heartbeat, timeout_s=10)
    await team.until(lambda: moved(team, before))
    assert await team.term() == term


async def moved(team, before):
    """Whether a heartbeat was written since."""
    return (await team.store.get(team.keys.heartbeat)).mod_revision > before.mod_revision
