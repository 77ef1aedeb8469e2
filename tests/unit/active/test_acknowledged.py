"""A daemon that is removed, or leaves for good, is removed from the store before that is said."""

import asyncio

import pytest

from mgr.errors import OutcomeUnknownError, TermLostError
from mgr.store.api import Delete
from tests.support.late_store import LateStore, Way
from tests.unit.active.fleet.test_reader import join


class Held:
    """A store's commits; those that delete are held until released."""

    def __init__(self, store):
        self.go = asyncio.Event()
        self.reached = asyncio.Event()
        self._commit = store.commit

    async def commit(self, operations, **fields):
        if any(isinstance(each, Delete) for each in operations):
            self.reached.set()
            await self.go.wait()
        return await self._commit(operations, **fields)


async def gone_silent(cluster):
    """The daemon ``rgw.a``, stored, whose stream is over."""
    daemon, line = join(cluster.role.fleet)
    await cluster.until(lambda: cluster.mirror.get(cluster.keys.daemon("rgw.a")))
    cluster.role.fleet.on_stream_lost(daemon, line)
    return daemon


async def test_an_answer_to_daemon_rm_waits_for_the_store(cluster, monkeypatch):
    """Killed right after the answer, the manager has forgotten nothing."""
    await gone_silent(cluster)
    held = Held(cluster.store)
    monkeypatch.setattr(cluster.store, "commit", held.commit)

    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(cluster.ask("daemon", "rm", "rgw.a"))
        async with asyncio.timeout(5):
            await held.reached.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        answered_early = asked.done()
        held.go.set()

    assert not answered_early
    assert asked.result().retval == 0
    assert await cluster.store.get(cluster.keys.daemon("rgw.a")) is None


async def test_without_waiting_it_is_acknowledged_before_it_is_stored(cluster, monkeypatch):
    """A broken build: what was acknowledged is there when its manager dies in this moment."""

    async def at_once(_name):
        pass

    await gone_silent(cluster)
    monkeypatch.setattr(cluster.role.fleet, "wait_stored", at_once)

    answer = await cluster.ask("daemon", "rm", "rgw.a")

    assert answer.retval == 0
    assert await cluster.store.get(cluster.keys.daemon("rgw.a")) is not None


async def test_one_that_joined_and_left_at_once_is_removed_too(cluster):
    """Its joining may be under way to the store, without an answer."""
    fleet = cluster.role.fleet
    daemon, line = join(fleet)
    fleet.close(daemon, line)
    revision = cluster.mirror.revision

    await fleet.wait_stored("rgw.a")

    assert cluster.mirror.get(cluster.keys.daemon("rgw.a")) is None
    assert cluster.mirror.revision >= revision


async def test_a_store_that_is_silent_leaves_the_outcome_unknown(cluster, monkeypatch):
    """It is removed from memory, and the store is asked again and again."""
    await gone_silent(cluster)
    held = Held(cluster.store)
    monkeypatch.setattr(cluster.store, "commit", held.commit)
    monkeypatch.setattr("mgr.active.fleet.store.STORED_S", 0.05)

    with pytest.raises(OutcomeUnknownError, match="not stored within"):
        await cluster.ask("daemon", "rm", "rgw.a")
    held.go.set()
    await cluster.until(lambda: cluster.mirror.get(cluster.keys.daemon("rgw.a")) is None)


async def test_a_term_that_ends_meanwhile_acknowledges_nothing(cluster):
    """The successor still knows the daemon."""
    await gone_silent(cluster)
    await cluster.store.revoke(cluster.lease)

    with pytest.raises(TermLostError):
        await cluster.ask("daemon", "rm", "rgw.a")

    assert (await cluster.store.list(cluster.keys.daemon("rgw.a"))).records


class Late(LateStore):
    """One that answers what is about no daemon; the proof of writes comes at any time."""

    async def commit(self, operations, **more):
        if operations[0].key.endswith("/proof"):
            return await self._inner.commit(operations, **more)
        return await super().commit(operations, **more)


async def test_a_daemon_that_comes_back_stays_whatever_became_of_its_removal(cluster, monkeypatch):
    """The removal was not answered; the daemon is the same as before when it joins again."""
    monkeypatch.setattr("mgr.cluster.fleet.timestamp", lambda: "2026-01-01T00:00:00+00:00")
    await gone_silent(cluster)
    key, fenced = cluster.keys.daemon("rgw.a"), cluster.role._fenced
    late = Late(cluster.store, [Way.HELD, *[Way.LOST_BEFORE] * 9])
    monkeypatch.setattr("mgr.active.fleet.store.RETRY_AFTER_S", 0.01)
    monkeypatch.setattr(fenced, "_store", late)
    with monkeypatch.context() as hasty:
        hasty.setattr("mgr.store.fenced.TIMEOUT_S", 0.01)
        cluster.role.fleet.forget("rgw.a")
        await cluster.until(lambda: late.held)
        join(cluster.role.fleet)
        await cluster.until(lambda: fenced._turns._unsettled)
    late.ways = []
    await cluster.role.fleet.wait_stored("rgw.a")

    await late.arrive()

    assert await cluster.store.get(key) is not None
