import asyncio

import pytest

from mgr.clock import CLOCK
from mgr.errors import StoreUnavailableError
from mgr.store.api import Changed, Current, Interrupted, Listed, Put
from mgr.store.memory import PENDING_MAX, MemoryStore
from tests.support.clock import ManualClock
from tests.support.reader import Reader


async def test_a_call_is_done_before_anything_else_runs():
    """Nothing in it waits: a simulation is the same every time."""
    store = MemoryStore(ManualClock())
    call = store.commit([Put("/k", "1")])
    with pytest.raises(StopIteration) as done:
        call.send(None)
    assert done.value.value.succeeded


async def test_a_lease_ends_at_the_moment_the_clock_says():
    """Not a tick before; without anybody calling the store."""
    clock = ManualClock()
    store = MemoryStore(clock)
    grant = await store.grant(5)
    await store.commit([Put("/k", "", grant.lease)])
    feed = store.follow("/")
    await anext(feed)

    clock.advance(4.999)
    assert await store.get("/k") is not None
    clock.advance(0.001)
    assert [news for news in [await anext(feed), await anext(feed)] if isinstance(news, Changed)]
    await feed.aclose()


async def test_on_a_real_clock_a_feed_says_that_it_is_current():
    """No hand moves it, so the feed looks by itself."""
    store = MemoryStore(CLOCK)
    async with Reader(store.follow("/")) as reader:
        await reader.until(lambda: reader.count(Current) >= 1, within_s=5)


async def test_a_feed_broken_for_a_moment_goes_on():
    """Interrupted, then current again: nothing was missed."""
    store = MemoryStore(ManualClock())
    async with Reader(store.follow("/")) as reader:
        store.break_feeds("on purpose")
        await store.commit([Put("/k", "1")])
        await reader.until(lambda: bool(reader.known))
        kinds = [type(news) for news in reader.news]
        assert kinds == [Listed, Interrupted, Current, Changed]


async def test_a_feed_nobody_reads_has_a_limit():
    """Beyond it, a listing stands for everything that piled up."""
    store = MemoryStore(ManualClock())
    feed = store.follow("/")
    await anext(feed)
    for number in range(PENDING_MAX + 5):
        await store.commit([Put("/k", str(number))])

    news = await anext(feed)
    assert isinstance(news, Listed)
    left = len(store._feeds[0].pending)
    assert left < 10
    await feed.aclose()
    assert store._feeds == []


async def test_without_time_there_is_no_answer():
    """A deadline that has passed is an error here as with a real store."""
    store = MemoryStore(ManualClock())
    with pytest.raises(StoreUnavailableError):
        await store.get("/k", timeout_s=0)


async def test_a_closed_store_answers_nothing():
    """It is gone for all who share it."""
    store = MemoryStore(ManualClock())
    feed = store.follow("/")
    await anext(feed)
    await store.close()
    assert [news async for news in feed] == []
    with pytest.raises(StoreUnavailableError):
        await store.get("/k")
    assert [news async for news in store.follow("/")] == []
    await asyncio.sleep(0)
