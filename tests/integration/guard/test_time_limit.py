"""Nothing escapes: a worker ends at its deadline, and with it everything that it started.

Real guards, reapers and processes. The workers here ask nobody before they act: all that ends
them is the kernel.
"""

from __future__ import annotations

import os
import signal

import pytest

from mgr.clock import CLOCK
from tests.support import process

pytestmark = pytest.mark.etcd


async def family(team, guard, count):
    """The reaper of ``guard``, and ``count`` processes below it."""
    await team.until(lambda: len(process.below(guard.pid)) == count + 1)
    [reaper, *others] = process.below(guard.pid)
    return reaper, others


async def limited(team, guard):
    """The kernel has the time limit of the term that ``guard`` holds."""
    term = await team.term()
    await team.until(lambda: guard.has_logged(f"limited in term {term}"))


async def test_a_worker_that_acts_outside_is_dead_before_a_successor_leads(team):
    """Only the guard is stopped: nobody is left who could tell the worker anything."""
    a, _ = await team.pair("outside")
    await limited(team, a)
    worker = a.worker

    a.signal(signal.SIGSTOP)
    await team.until(lambda: team.leads("b"))
    dead = process.gone(worker)
    a.signal(signal.SIGCONT)

    assert dead
    await team.until(lambda: a.has_logged("its deadline passed"))
    await team.until(lambda: team.warm("a"))


async def test_a_worker_with_nothing_outside_stays_through_a_suspension(team):
    """The store judges its writes: it keeps what it has in memory."""
    a = team.start("a")
    await team.until(lambda: team.leads("a"))
    worker = a.worker

    a.signal(signal.SIGSTOP)
    began_s = CLOCK.now()
    await team.until(lambda: CLOCK.now() - began_s > 1.9)
    a.signal(signal.SIGCONT)
    await team.until(lambda: a.has_logged("because=TERM_CONFIRMED"))

    assert a.worker == worker


async def test_a_worker_is_dead_at_its_deadline_although_its_reaper_is_stopped(team):
    """The second timer is the kernel's alone: it needs no Python, here or there."""
    a, _ = await team.pair("outside")
    await limited(team, a)
    reaper, [worker] = await family(team, a, 1)

    os.kill(reaper, signal.SIGSTOP)
    a.signal(signal.SIGSTOP)
    await team.until(lambda: team.leads("b"))
    dead = process.gone(worker)
    a.signal(signal.SIGCONT)

    assert dead
    await team.until(lambda: team.warm("a"))


async def test_what_a_worker_started_ends_with_it_wherever_it_went(team):
    """One in its own session, whose parent is gone, and one that is an ordinary child."""
    a, _ = await team.pair("helper escape outside")
    await limited(team, a)
    _, others = await family(team, a, 3)

    os.kill(a.worker, signal.SIGKILL)
    await team.until(lambda: team.leads("b"))

    assert [pid for pid in others if not process.gone(pid)] == []


async def test_what_a_worker_started_ends_with_its_guard(team):
    """The guard is killed: its reaper hears it from the kernel and ends everything."""
    a, _ = await team.pair("helper escape")
    reaper, others = await family(team, a, 3)

    a.signal(signal.SIGKILL)

    await team.until(lambda: all(map(process.gone, (reaper, *others))), 2)


async def test_what_a_worker_started_ends_before_the_key_is_given_back_without_a_reaper(team):
    """The reaper is killed: the guard inherits what is left, and ends it."""
    a, _ = await team.pair("helper escape")
    reaper, others = await family(team, a, 3)

    os.kill(reaper, signal.SIGKILL)
    await team.until(lambda: team.leads("b"))

    assert [pid for pid in others if not process.gone(pid)] == []
    assert a.has_logged("its reaper was killed")


async def test_what_modules_started_ends_before_a_hand_over(team):
    """``quiesced`` says that nothing of the term acts any more: processes are meant, too."""
    a, _ = await team.pair("helper escape", lease_ttl_s=10)
    _, others = await family(team, a, 3)
    helpers = set(others) - {a.worker}

    a.signal(signal.SIGTERM)
    await team.until(lambda: team.leads("b"))

    assert [pid for pid in helpers if not process.gone(pid)] == []
    assert a.has_logged("reason=resigned")


async def test_a_worker_that_does_not_reach_the_store_costs_its_manager_the_term(team):
    """Its guard does reach it: the leadership goes to a manager that can work."""
    a, _ = await team.pair("unable", lease_ttl_s=10)

    await team.until(lambda: team.leads("b"), 12)

    assert a.has_logged("worker killed by its guard why='does not reach the store'")
    assert a.has_logged("reason=unable")
    await team.until(lambda: team.warm("a"))
