"""The cluster log survives a failover, and costs few writes."""

from __future__ import annotations

import asyncio

import pytest

from mgr.active import cluster_log_store
from mgr.active.cluster_log_store import ClusterLogStore
from mgr.cluster.log import CAPACITY, ClusterLog, Priority
from mgr.errors import StoreUnavailableError
from mgr.store.api import Put
from tests.support.leading import leading


def made(term):
    """A term's log and what stores it."""
    log = ClusterLog(term=term.term)
    store = ClusterLogStore(log, term.mirror, term.keys, term.fenced)
    store.restore()
    return log, store


def messages(log):
    return [entry.message for entry in log.last(CAPACITY)]


async def test_the_next_active_shows_the_lines_of_the_last_one():
    """With their time, author and priority; new lines come after them."""
    async with leading() as term:
        log, store = made(term)
        first = log.add("one", name="mgr.a", priority=Priority.ERROR, channel="audit")
        log.add("two", name="client.ops")
        await store.flush()
        store.close()
        later, _ = made(await term.succeed())
        later.add("three", name="mgr.b")

        assert messages(later) == ["one", "two", "three"]
        assert later.last(3)[0] == first
        places = [(entry.term, entry.sequence) for entry in later.last(3)]
        assert places == sorted(set(places))


async def test_lines_of_a_second_are_one_write(monkeypatch):
    """The first one is stored at once, in case the manager dies."""
    monkeypatch.setattr(cluster_log_store, "WRITE_EVERY_S", 0.05)
    async with leading() as term:
        log, store = made(term)
        term.tasks.create_task(store.run())
        log.add("first", name="mgr.a")
        await until(lambda: len(stored(term)) == 1)
        for number in range(100):
            log.add(str(number), name="mgr.a")
        await until(lambda: len(stored(term)) == 2)

        assert messages(made(term)[0]) == ["first", *map(str, range(100))]


async def test_only_the_last_lines_are_kept():
    """In the store as in memory."""
    async with leading() as term:
        log, store = made(term)
        for batch in range(40):
            for number in range(50):
                log.add(f"{batch} {number}", name="mgr.a")
            await store.flush()
        kept = made(term)[0]

        assert len(stored(term)) == CAPACITY // 50
        assert messages(kept) == messages(log)


async def test_lines_that_were_not_stored_are_stored_later(lost_store):
    """No line waits for the store, and none is lost because of it."""
    async with leading(lost_store) as term:
        log, store = made(term)
        lost_store.lost = True
        log.add("one", name="mgr.a")
        with pytest.raises(StoreUnavailableError):
            await store.flush()
        lost_store.lost = False
        log.add("two", name="mgr.a")
        await store.flush()

        assert messages(made(term)[0]) == ["one", "two"]


async def test_what_somebody_wrote_there_by_hand_ends_no_manager():
    """It is left out."""
    async with leading() as term:
        await term.store.commit([Put(term.keys.log_line(1, 1), "[[no line]]")])
        log, store = made(term)
        log.add("one", name="mgr.a")
        await store.flush()
        store.close()

        assert messages(made(term)[0]) == ["one"]


@pytest.fixture
def lost_store():
    """A store that answers no write while ``lost`` is set."""
    from mgr.errors import StoreUnavailableError
    from mgr.store.memory import MemoryStore
    from tests.support.clock import ManualClock

    class LostStore(MemoryStore):
        lost = False

        async def commit(self, operations, **options):
            if self.lost:
                raise StoreUnavailableError("no answer")
            return await super().commit(operations, **options)

    return LostStore(ManualClock())


def stored(term):
    return term.mirror.list(term.keys.log_lines)


async def until(state):
    """Wait until ``state`` holds."""
    async with asyncio.timeout(10):
        while not state():  # noqa: ASYNC110 - a task is at work: there is no event
            await asyncio.sleep(0.005)
