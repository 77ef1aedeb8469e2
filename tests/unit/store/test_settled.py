"""What stands there already and is not written again: no earlier request may change it any more."""

import asyncio

import pytest

from mgr.errors import FencedError, OutcomeUnknownError, StoreUnavailableError
from mgr.store.api import Delete, Put
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from mgr.store.mirror import Mirror
from tests.support.clock import ManualClock
from tests.support.late_store import LateStore, Way

KEYS = Keys("c")
K = KEYS.entry("k")
OTHER = KEYS.entry("other")
SHORT_S = 0.01


class Counting(LateStore):
    """A ``LateStore`` that counts what is read."""

    reads = 0

    async def get(self, key, **more):
        self.reads += 1
        return await self._inner.get(key, **more)

    async def list(self, prefix, **more):
        self.reads += 1
        return await self._inner.list(prefix, **more)


class Term:
    """One term over a store in memory, and a mirror that hears nothing more of the store."""

    @classmethod
    async def begin(cls):
        term = cls()
        term.store = MemoryStore(ManualClock())
        term.late = Counting(term.store)
        lease = (await term.store.grant(5)).lease
        created = await term.store.create(KEYS.leader, "a", lease=lease)
        term.mirror = Mirror(term.store, KEYS.root, ManualClock())
        async with asyncio.TaskGroup() as group:
            following = group.create_task(term.mirror.run())
            await term.mirror.wait_for_revision(created, 1)
            following.cancel()
        term.fenced = FencedStore(term.late, KEYS, created, mirror=term.mirror)
        return term

    async def give_up(self, operation, way):
        """Send ``operation`` this way and hear nothing of it."""
        self.late.ways = [way, *[Way.LOST_BEFORE] * 9]
        with pytest.raises(OutcomeUnknownError):
            await self.fenced.commit([operation], timeout_s=SHORT_S)
        self.late.ways = []


@pytest.fixture
async def term():
    return await Term.begin()


ASKED = pytest.mark.parametrize("asked", [((K,), ()), ((), (KEYS.kv,))], ids=["key", "prefix"])


@ASKED
async def test_nothing_is_sent_while_every_write_was_answered(term, asked):
    """The mirror shows them at once."""
    await term.fenced.put(K, "1")
    sent = term.late.sent

    found = await term.fenced.read_settled(*asked)

    assert {key: record.value for key, record in found.items()} == {K: "1"}
    assert (term.late.sent, term.late.reads) == (sent, 0)


@ASKED
async def test_nothing_is_sent_because_of_another_key(term, asked):
    """Whatever is on its way to it."""
    await term.fenced.put(K, "1")
    await term.give_up(Put(KEYS.health, "x"), Way.HELD)
    sent = term.late.sent

    await term.fenced.read_settled(*asked)

    assert (term.late.sent, term.late.reads) == (sent, 0)


@ASKED
@pytest.mark.parametrize("way", [Way.HELD, Way.LOST_AFTER])
async def test_what_was_given_up_can_not_change_it_any_more(term, asked, way):
    """It is gone, or it stays."""
    await term.fenced.put(K, "1")
    await term.give_up(Delete(K), way)

    found = await term.fenced.read_settled(*asked)
    while term.late.held:
        await term.late.arrive()

    record = await term.store.get(K)
    assert found == ({} if record is None else {K: record})
    assert term.mirror.get(K) == record
    assert (record is None) == (way is Way.LOST_AFTER)


@ASKED
@pytest.mark.parametrize("operation", [Delete(K), Put(K, "2")])
async def test_what_a_barrier_of_another_write_settled_is_read(term, asked, operation):
    """Nothing is unsettled then, and the mirror has not heard yet what became of it."""
    await term.fenced.put(K, "1")
    await term.give_up(operation, Way.LOST_AFTER)
    term.late.ways = [Way.LOST_BEFORE]
    await term.fenced.put(KEYS.health, "x")

    found = await term.fenced.read_settled(*asked)

    record = await term.store.get(K)
    assert found == ({} if record is None else {K: record})
    assert term.mirror.get(K) == record


async def test_a_write_under_way_is_waited_for(term):
    """The mirror does not show it before it is answered."""
    async with asyncio.TaskGroup() as group:
        group.create_task(term.fenced.put(K, "1"))
        await asyncio.sleep(0)
        found = await term.fenced.read_settled((K,))

    assert found[K].value == "1"


async def test_without_a_mirror_it_is_read(term):
    """Nothing else is known."""
    fenced = FencedStore(term.late, KEYS, term.fenced.term)
    await fenced.put(K, "1")

    assert (await fenced.read_settled((K, OTHER)))[K].value == "1"


async def test_what_cannot_be_settled_in_time_is_said_of_no_key(term):
    """Whoever asked may ask again: nothing was sent."""
    await term.give_up(Put(K, "1"), Way.HELD)
    term.late.ways = [Way.LOST_BEFORE] * 9

    with pytest.raises(StoreUnavailableError, match="could not be found out in time"):
        await term.fenced.read_settled((K,), timeout_s=SHORT_S)


async def test_a_term_that_is_known_to_be_over_says_nothing(term):
    """What stands there is for its successor to say."""
    await term.store.commit([Delete(KEYS.leader)])
    with pytest.raises(FencedError):
        await term.fenced.put(OTHER, "1")

    with pytest.raises(FencedError):
        await term.fenced.read_settled((K,))
