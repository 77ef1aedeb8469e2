"""What every store promises of feeds."""

import asyncio
import itertools

from mgr.store.api import (
    Changed,
    Current,
    Delete,
    DeletePrefix,
    Interrupted,
    Listed,
    Put,
)
from tests.support.reader import Reader


async def test_a_feed_begins_with_everything_there_is(store, prefix):
    """In key order, at one revision; it is always the first event."""
    await store.commit([Put(f"{prefix}b", "2"), Put(f"{prefix}a", "1")])
    await store.commit([Put(f"{prefix[:-1]}0", "a neighbour")])
    listing = await store.list(prefix)

    async with Reader(store.follow(prefix)) as reader:
        assert reader.news[0] == Listed(listing.records, listing.revision)
    assert [r.key for r in listing.records] == [f"{prefix}a", f"{prefix}b"]


async def test_every_change_is_reported_once_and_in_order(store, prefix):
    """Puts, overwrites and deletions, as the store ordered them."""
    async with Reader(store.follow(prefix)) as reader:
        first = await store.commit([Put(f"{prefix}k", "1")])
        second = await store.commit([Put(f"{prefix}k", "2")])
        third = await store.commit([Delete(f"{prefix}k")])
        await reader.until(lambda: reader.of(Changed)[-1:] and not reader.known)

        revisions = [record.mod_revision for news in reader.of(Changed) for record in news.put]
        assert sorted(set(revisions)) == revisions
        assert set(revisions) <= {first.revision, second.revision}
        assert reader.of(Changed)[-1].deleted == (f"{prefix}k",)
        assert reader.of(Changed)[-1].revision == third.revision


async def test_changes_of_one_transaction_come_together(store, prefix):
    """Nobody sees half of it."""
    await store.commit([Put(f"{prefix}old", "")])
    async with Reader(store.follow(prefix)) as reader:
        made = await store.commit(
            [Put(f"{prefix}a", "1"), Put(f"{prefix}b", "2"), Delete(f"{prefix}old")]
        )
        await reader.until(lambda: reader.count(Changed) == 1)

        [changed] = reader.of(Changed)
        assert sorted(r.key for r in changed.put) == [f"{prefix}a", f"{prefix}b"]
        assert (changed.deleted, changed.revision) == ((f"{prefix}old",), made.revision)


async def test_a_deleted_prefix_is_reported_key_by_key(store, prefix):
    """Who keeps a copy need not know what a prefix is."""
    await store.commit([Put(f"{prefix}d/1", ""), Put(f"{prefix}d/2", ""), Put(f"{prefix}e", "")])
    async with Reader(store.follow(prefix)) as reader:
        await store.commit([DeletePrefix(f"{prefix}d/")])
        await reader.until(lambda: list(reader.known) == [f"{prefix}e"])


async def test_neighbours_of_the_prefix_are_not_reported(store, prefix):
    """Not the key before its first, not the key behind its last."""
    edge = f"{prefix}a\u00ff"
    async with Reader(store.follow(edge)) as reader:
        await store.commit([Put(f"{prefix}a", ""), Put(f"{prefix}a\u0100", "")])
        await store.commit([Put(f"{edge}\U0010ffff", "in")])
        await reader.until(lambda: reader.count(Changed) == 1)
        assert reader.known == {f"{edge}\U0010ffff": "in"}


async def test_the_end_of_a_lease_is_reported(harness, store, prefix):
    """A standby learns of a dead leader like this."""
    lease = (await store.grant(2)).lease
    await store.commit([Put(f"{prefix}a", "", lease), Put(f"{prefix}b", "", lease)])
    async with Reader(store.follow(prefix)) as reader:
        await harness.let_pass(4)
        await reader.until(lambda: not reader.known)
        assert reader.count(Listed) == 1


async def test_a_quiet_feed_says_that_it_is_current(harness, store, prefix):
    """About once a second, with the newest reported revision, while nothing changes."""
    made = await store.commit([Put(f"{prefix}k", "")])
    async with Reader(store.follow(prefix)) as reader:
        await harness.let_pass(4.5)
        await reader.until(lambda: reader.count(Current) >= 4)

        assert reader.count(Interrupted, Changed) == 0
        assert all(news.revision >= made.revision for news in reader.of(Current))


async def test_a_busy_feed_says_that_it_is_current(harness, store, prefix):
    """Changes prove nothing of their own: they may be old ones."""
    async with Reader(store.follow(prefix)) as reader:
        for number in range(30):
            await store.commit([Put(f"{prefix}k", str(number))])
            await harness.let_pass(0.5 if number % 5 == 0 else 0)
        await reader.until(lambda: reader.count(Current) >= 2 and bool(reader.known))
        await reader.until(lambda: reader.known[f"{prefix}k"] == "29")


async def test_a_broken_feed_goes_on_and_leaves_nothing_out(harness, store, prefix):
    """Changes made meanwhile come late, but once, in order, and without a new listing."""
    async with Reader(store.follow(prefix)) as reader:
        await store.commit([Put(f"{prefix}{0:03}", "")])
        await reader.until(lambda: len(reader.known) == 1)

        await harness.cut()
        await reader.until(lambda: reader.count(Interrupted) >= 1)
        for number in range(1, 20):
            await harness.other.commit([Put(f"{prefix}{number:03}", "")])
        await harness.mend()

        await reader.until(lambda: len(reader.known) == 20)
        received = [record.key for news in reader.of(Changed) for record in news.put]
        assert received == [f"{prefix}{number:03}" for number in range(20)]
        assert reader.count(Listed) == 1
        await harness.let_pass(1)
        await reader.until(lambda: isinstance(reader.news[-1], Current))


async def test_a_feed_broken_again_and_again_stays_exact(harness, store, prefix):
    """Five cuts in the middle of writing: no change is lost, none comes twice."""
    keys = [f"{prefix}{number:03}" for number in range(50)]
    async with Reader(store.follow(prefix)) as reader:
        for start in range(0, 50, 10):
            for key in keys[start : start + 5]:
                await harness.other.commit([Put(key, "")])
            await harness.cut()
            for key in keys[start + 5 : start + 10]:
                await harness.other.commit([Put(key, "")])
            await harness.mend()

        await reader.until(lambda: len(reader.known) == 50)
        received = [record.key for news in reader.of(Changed) for record in news.put]
        assert received == keys


async def test_a_feed_that_missed_what_was_compacted_begins_again(harness, store, prefix):
    """The whole prefix comes again: what is not in it is gone."""
    await store.commit([Put(f"{prefix}gone", ""), Put(f"{prefix}stays", "1")])
    async with Reader(store.follow(prefix)) as reader:
        await harness.cut()
        await reader.until(lambda: reader.count(Interrupted) >= 1)
        await harness.other.commit([Delete(f"{prefix}gone"), Put(f"{prefix}new", "")])
        await harness.other.commit([Put(f"{prefix}stays", "2")])
        await harness.compact()
        await harness.mend()

        await reader.until(lambda: reader.count(Listed) == 2)
        assert reader.known == {f"{prefix}new": "", f"{prefix}stays": "2"}
        await harness.other.commit([Put(f"{prefix}after", "")])
        await reader.until(lambda: f"{prefix}after" in reader.known)


async def test_compaction_is_not_felt_by_a_feed_that_missed_nothing(harness, store, prefix):
    """Neither by a running one nor by one that was cut while nothing happened."""
    await store.commit([Put(f"{prefix}k", "1")])
    async with Reader(store.follow(prefix)) as reader:
        await harness.compact()
        await harness.cut()
        await reader.until(lambda: reader.count(Interrupted) >= 1)
        await harness.mend()
        await store.commit([Put(f"{prefix}k", "2")], timeout_s=10)
        await reader.until(lambda: reader.known[f"{prefix}k"] == "2")
        assert reader.count(Listed) == 1


async def test_many_feeds_of_one_store_are_reported_alike(store, prefix):
    """Each sees its own prefix, all of it."""
    async with (
        Reader(store.follow(prefix)) as everything,
        Reader(store.follow(f"{prefix}a/")) as some,
    ):
        for number, part in itertools.product(range(10), "ab"):
            await store.commit([Put(f"{prefix}{part}/{number}", "")])
        await everything.until(lambda: len(everything.known) == 20)
        await some.until(lambda: len(some.known) == 10)


async def test_a_feed_ends_when_it_is_closed(store, prefix):
    """Nothing of it stays behind, and the store goes on."""
    feed = store.follow(prefix)
    assert isinstance(await anext(feed), Listed)
    await feed.aclose()
    await store.commit([Put(f"{prefix}k", "")])
    assert [news async for news in feed] == []


async def test_a_feed_ends_with_its_store(store, prefix):
    """Closing the store is the one thing that ends a feed by itself."""
    async with Reader(store.follow(prefix)) as reader:
        await store.close()
        async with asyncio.timeout(5):
            await reader.until(lambda: reader.ended)
