import asyncio

import pytest

from mgr.errors import StoreUnavailableError
from mgr.store.api import Changed, Current, Delete, Interrupted, Listed, Put, Record
from mgr.store.memory import MemoryStore
from mgr.store.mirror import TURN_CHANGES_MAX, KeyChange, Mirror
from tests.support.clock import ManualClock

P = "/mgr/c/"


class FeedStore:
    """A store that has nothing but a feed, which the test writes by hand."""

    def __init__(self):
        self._news = asyncio.Queue()

    async def follow(self, prefix):
        while True:
            yield await self._news.get()

    async def tell(self, *news):
        """Let the feed say this, and be heard."""
        for item in news:
            self._news.put_nowait(item)
        for _ in range(5):
            await asyncio.sleep(0)


def record(key, value, revision, *, created=None):
    return Record(f"{P}{key}", value, created or revision, revision)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def fed(clock):
    """A mirror and the store that feeds it, by hand."""
    store = FeedStore()
    mirror = Mirror(store, P, clock)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(mirror.run())
        yield mirror, store
        running.cancel()


@pytest.fixture
async def live(clock):
    """A mirror over a dictionary, running."""
    store = MemoryStore(clock)
    mirror = Mirror(store, P, clock)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(mirror.run())
        yield mirror, store
        running.cancel()


async def turns():
    """Let everything that can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_copy_is_what_the_store_holds(live):
    """What was there, what came, what went."""
    mirror, store = live
    await store.commit([Put(f"{P}b", "1"), Put(f"{P}a/2", "2"), Put("/mgr/d/x", "no")])
    await turns()
    made = await store.commit([Put(f"{P}a/1", "3"), Delete(f"{P}b")])

    await mirror.wait_for_revision(made.revision, 1)

    assert [(key, r.value) for key, r in mirror.list(P).items()] == [
        (f"{P}a/1", "3"),
        (f"{P}a/2", "2"),
    ]
    assert list(mirror.list(f"{P}a/2")) == [f"{P}a/2"]
    assert mirror.list(f"{P}z") == {}
    assert mirror.get(f"{P}b") is None
    assert mirror.get(f"{P}a/1") == await store.get(f"{P}a/1")


@pytest.mark.parametrize(
    "prefix", ["", P, f"{P}a", f"{P}a\U0010ffff", f"{P}\U0010ffff", "\U0010ffff"]
)
async def test_a_prefix_has_every_key_that_begins_with_it(fed, prefix):
    """And no other, also at the end of the characters."""
    mirror, store = fed
    keys = [
        "a",
        "a\ud7ff",
        "a\U0010ffff",
        "a\U0010ffffb",
        "a\U0010ffff\U0010ffff",
        "b",
        "\U0010ffff",
    ]
    records = tuple(record(key, "", 2 + number) for number, key in enumerate(keys))
    await store.tell(Listed(records, revision=20))

    expected = [each.key for each in records if each.key.startswith(prefix)]
    assert list(mirror.list(prefix)) == sorted(expected)


async def test_an_empty_copy_is_not_current(fed):
    """Before the first listing nothing is known, least of all absence."""
    mirror, _ = fed
    assert (mirror.current, mirror.age_s(), mirror.revision) == (False, float("inf"), 0)


async def test_the_age_counts_from_the_last_proof(fed, clock):
    """A listing or a word of the feed proves; a change does not: it may be an old one."""
    mirror, store = fed
    await store.tell(Listed((), 5))
    assert (mirror.current, mirror.age_s()) == (True, 0)

    clock.advance(2)
    await store.tell(Changed((record("k", "1", 6),), (), 6))
    assert mirror.age_s() == 2

    await store.tell(Current(6))
    assert mirror.age_s() == 0

    clock.advance(3.1)
    assert not mirror.current


async def test_an_interrupted_copy_is_not_current_until_it_is_proven(fed):
    """What piled up while the feed was broken does not make it so."""
    mirror, store = fed
    await store.tell(Listed((record("k", "1", 5),), 5), Interrupted("cable"))
    assert not mirror.current
    assert mirror.get(f"{P}k").value == "1"

    await store.tell(Changed((record("k", "2", 7),), (), 7))
    assert not mirror.current

    await store.tell(Current(7))
    assert mirror.current


async def test_waiting_for_a_revision_has_a_limit(fed):
    """The error says how far the copy is."""
    mirror, store = fed
    await store.tell(Listed((), 5))
    with pytest.raises(StoreUnavailableError, match="at revision 5 and did not reach 6"):
        await mirror.wait_for_revision(6, 0.01)


async def test_waiting_ends_when_the_revision_is_seen(fed):
    """Several wait, each for its own."""
    mirror, store = fed
    reached = []

    async def wait(revision):
        await mirror.wait_for_revision(revision, 5)
        reached.append(revision)

    async with asyncio.TaskGroup() as group:
        for revision in (9, 7, 8):
            group.create_task(wait(revision))
        await store.tell(Listed((), 7))
        assert reached == [7]
        await store.tell(Changed((record("k", "", 9),), (), 9))
        assert sorted(reached) == [7, 8, 9]


async def test_an_own_write_is_visible_at_once(fed):
    """The feed's echo of it is no second change."""
    mirror, store = fed
    seen = []
    await store.tell(Listed((record("old", "x", 3),), 5))
    mirror.subscribe(P, seen.extend)

    mirror.note_own([record("k", "mine", 6)], [f"{P}old"], 6)
    assert (mirror.get(f"{P}k").value, mirror.get(f"{P}old")) == ("mine", None)
    assert mirror.revision == 5

    await store.tell(Changed((record("k", "mine", 6),), (f"{P}old",), 6))
    assert seen == [KeyChange(f"{P}k", record("k", "mine", 6)), KeyChange(f"{P}old", None)]


async def test_no_key_goes_backwards(fed):
    """A late, older change of a key from the feed does not undo an own write, put or deletion."""
    mirror, store = fed
    await store.tell(Listed((record("k", "1", 5), record("d", "1", 5)), 5))
    mirror.note_own([record("k", "8", 8, created=5)], [f"{P}d"], 8)

    await store.tell(Changed((record("k", "6", 6, created=5), record("d", "6", 6)), (), 6))
    await store.tell(Changed((), (f"{P}k",), 7))
    assert (mirror.get(f"{P}k").value, mirror.get(f"{P}d")) == ("8", None)

    await store.tell(Listed((record("k", "7", 7), record("d", "7", 7)), 7))
    assert (mirror.get(f"{P}k").value, mirror.get(f"{P}d")) == ("8", None)

    await store.tell(Changed((record("d", "9", 9),), (f"{P}k",), 9))
    assert (mirror.get(f"{P}k"), mirror.get(f"{P}d").value) == (None, "9")


async def test_a_fresh_listing_tells_the_difference(fed):
    """Who subscribed hears what changed meanwhile, and nothing that did not."""
    mirror, store = fed
    await store.tell(Listed((record("a", "1", 3), record("b", "1", 4)), 5))
    seen = []
    mirror.subscribe(P, seen.extend)

    await store.tell(Listed((record("a", "1", 3), record("c", "2", 8)), 9))

    assert seen == [KeyChange(f"{P}c", record("c", "2", 8)), KeyChange(f"{P}b", None)]
    assert mirror.revision == 9


async def test_a_store_set_back_replaces_everything(fed):
    """After a restored backup the revisions of the old life mean nothing."""
    mirror, store = fed
    await store.tell(Listed((record("a", "new", 50), record("b", "new", 60)), 60))
    seen = []
    mirror.subscribe(P, seen.extend)

    await store.tell(Listed((record("a", "old", 10),), 20))

    assert {key: r.value for key, r in mirror.list(P).items()} == {f"{P}a": "old"}
    assert seen == [KeyChange(f"{P}a", record("a", "old", 10)), KeyChange(f"{P}b", None)]
    assert mirror.revision == 20


async def test_a_listing_wins_over_records_of_a_higher_revision(fed):
    """Etcd was restored with its revision set forward: the old life's records mean nothing."""
    mirror, store = fed
    old = (record("a", "new", 50, created=10), record("b", "new", 60))
    await store.tell(Listed(old, 60))
    seen = []
    mirror.subscribe(P, seen.extend)

    await store.tell(Listed((record("a", "old", 10),), 1060))

    assert {key: r.value for key, r in mirror.list(P).items()} == {f"{P}a": "old"}
    assert seen == [KeyChange(f"{P}a", record("a", "old", 10)), KeyChange(f"{P}b", None)]


async def test_a_listing_does_not_undo_an_own_write_that_it_cannot_hold(fed, clock):
    """It was asked for before the write was acknowledged, and took its time."""
    mirror, store = fed
    await store.tell(Listed((record("k", "1", 5), record("d", "1", 5)), 5))
    clock.advance(1)
    asked_at_s = clock.now()
    clock.advance(1)
    mirror.note_own([record("k", "8", 8, created=5)], [f"{P}d"], 8)

    listed = (record("k", "7", 7, created=5), record("d", "7", 7))
    await store.tell(Listed(listed, 7, asked_at_s))

    assert (mirror.get(f"{P}k").value, mirror.get(f"{P}d")) == ("8", None)


async def test_a_listing_undoes_an_own_write_that_it_should_hold(fed, clock):
    """It was asked for afterwards and is older: the write was made in another life of etcd."""
    mirror, store = fed
    await store.tell(Listed((record("k", "1", 5), record("d", "1", 5)), 5))
    mirror.note_own([record("k", "8", 8, created=5), record("own", "", 8)], [f"{P}d"], 8)
    clock.advance(1)

    listed = (record("k", "1", 5), record("d", "1", 5))
    await store.tell(Listed(listed, 7, clock.now()))
    assert tuple(mirror.list(P).values()) == (listed[1], listed[0])

    await store.tell(Changed((record("d", "2", 8),), (), 8))
    assert mirror.get(f"{P}d").value == "2"


async def test_subscribers_hear_of_their_prefix_once_it_is_readable(fed):
    """In one call for what came together; no longer once they have unsubscribed."""
    mirror, store = fed
    heard = []

    def listen(changes):
        heard.append([(c.key, mirror.get(c.key) == c.record) for c in changes])

    unsubscribe = mirror.subscribe(f"{P}a/", listen)
    await store.tell(Listed((record("a/1", "", 3), record("b", "", 3), record("a/2", "", 4)), 5))
    assert heard == [[(f"{P}a/1", True), (f"{P}a/2", True)]]

    unsubscribe()
    unsubscribe()
    await store.tell(Changed((record("a/1", "", 6),), (), 6))
    assert len(heard) == 1


async def test_a_reader_of_a_moment_keeps_it(fed):
    """What ``under`` returned does not change under its reader's hands."""
    mirror, store = fed
    await store.tell(Listed((record("a", "1", 3),), 5))
    moment = mirror.list(P)
    await store.tell(Changed((record("b", "2", 6),), (f"{P}a",), 6))
    assert list(moment) == [f"{P}a"]
    assert list(mirror.list(P)) == [f"{P}b"]


@pytest.mark.parametrize("many", [1, 8, 9, 500])
async def test_keys_stay_sorted_however_many_change_at_once(fed, many):
    """Few and many changes take different ways to the same order."""
    mirror, store = fed
    await store.tell(Listed((record("m", "", 1),), 1))
    records = tuple(record(f"{number:03}", "", 2) for number in reversed(range(many)))
    await store.tell(Changed(records, (f"{P}m",), 2))
    assert list(mirror.list(P)) == sorted(r.key for r in records)
    await store.tell(Changed((), tuple(r.key for r in records), 3))
    assert mirror.list(P) == {}


async def test_the_copy_survives_a_broken_feed(live):
    """It is readable meanwhile, and right afterwards."""
    mirror, store = live
    await store.commit([Put(f"{P}k", "1")])
    await turns()
    store.cut_feeds()
    await store.commit([Put(f"{P}k", "2")])
    store.compact()
    await turns()
    assert (mirror.current, mirror.get(f"{P}k").value) == (False, "1")

    store.mend_feeds()
    await turns()
    assert (mirror.current, mirror.get(f"{P}k").value) == (True, "2")


async def test_a_subscriber_that_raises_keeps_no_other_from_hearing(fed, caplog):
    """Every manager sees the same record; it must not end the worker of each in turn."""
    mirror, feed = fed
    heard = []

    def choke(_changes):
        raise ValueError("what is this?")

    mirror.subscribe(P, choke)
    mirror.subscribe(P, heard.extend)
    await feed.tell(Changed(put=(record("k", "odd", 9),), deleted=(), revision=9))

    assert [change.key for change in heard] == [f"{P}k"]
    assert mirror.get(f"{P}k").value == "odd"
    assert "mirror subscriber failed on a change" in caplog.text


async def test_many_keys_of_one_revision_do_not_take_the_loop_for_themselves(fed):
    """A lease with thousands of keys ends: heartbeats go on between the parts of the work."""
    mirror, store = fed
    number, turns_taken, part = 20_000, 0, []
    keys = [f"{P}k{i:06}" for i in range(number)]
    await store.tell(Listed(tuple(Record(key, "v", 1, 1) for key in keys), 5), Current(5))
    mirror.subscribe(P, lambda changes: part.append(len(changes)))

    async def tick():
        nonlocal turns_taken
        while True:
            turns_taken += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        ticker = tasks.create_task(tick())
        store._news.put_nowait(Changed((), tuple(keys), 6))
        await mirror.wait_for_revision(6, 30)
        ticker.cancel()

    assert max(part) <= TURN_CHANGES_MAX
    assert sum(part) == number
    assert turns_taken >= number / TURN_CHANGES_MAX
    assert mirror.list(P) == {}


async def test_a_revision_is_reached_with_its_last_change(fed):
    """Whoever waits for it sees all of it; a write of our own meanwhile is not undone."""
    mirror, store = fed
    seen = []
    puts = tuple(record(f"k{i:05}", "v", 6) for i in range(3 * TURN_CHANGES_MAX))
    mirror.subscribe(P, lambda _: seen.append((mirror.revision, len(mirror.list(P)))))

    store._news.put_nowait(Listed((), 5))
    store._news.put_nowait(Changed(puts, (), 6))
    await mirror.wait_for_revision(6, 30)

    assert seen[-1] == (6, len(puts))
    assert {revision for revision, _ in seen[:-1]} == {5}
