import asyncio

import pytest

from mgr.errors import (
    ConflictError,
    FencedError,
    LeaseExpiredError,
    OutcomeUnknownError,
    StoreUnavailableError,
    TooLargeError,
)
from mgr.store.api import (
    ABSENT,
    OPERATIONS_MAX,
    Created,
    Delete,
    DeletePrefix,
    Modified,
    Put,
)
from mgr.store.fenced import FENCE_COMPARES, FencedStore
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from mgr.store.mirror import Mirror
from tests.support.clock import ManualClock
from tests.support.lossy import LossyStore, Lost

KEYS = Keys("c")
K = KEYS.entry("k")


class Recorder:
    """Any store; keeps what was asked of ``commit``."""

    def __init__(self, inner):
        self._inner = inner
        self.whens = []

    async def commit(self, operations, *, when=(), **more):
        self.whens.append(tuple(when))
        return await self._inner.commit(operations, when=when, **more)

    def __getattr__(self, name):
        return getattr(self._inner, name)


class Meddler(Recorder):
    """Any store; somebody overwrites K between a lost answer and the next attempt."""

    def __init__(self, inner, direct):
        super().__init__(inner)
        self._direct = direct

    async def commit(self, operations, **more):
        try:
            return await super().commit(operations, **more)
        except OutcomeUnknownError:
            await self._direct.commit([Put(K, "newer, by hand")])
            raise


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store(clock):
    return MemoryStore(clock)


@pytest.fixture
def cable(store):
    return LossyStore(store)


@pytest.fixture
async def term(store):
    grant = await store.grant(5)
    return await store.create(KEYS.leader, "a", lease=grant.lease)


@pytest.fixture(params=["with a mirror", "without"])
async def fenced(request, cable, store, term, clock):
    """The active's writes, over a cable that can lose things."""
    if request.param == "without":
        yield FencedStore(cable, KEYS, term)
        return
    mirror = Mirror(store, KEYS.root, clock)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(mirror.run())
        await asyncio.sleep(0)
        yield FencedStore(cable, KEYS, term, mirror=mirror)
        running.cancel()


def losing(*losses):
    """Lose these, one a commit, then nothing."""
    left = list(losses)
    return lambda: left.pop(0) if left else Lost.NOTHING


async def test_a_write_is_done_while_the_term_leads(fenced, store):
    """And its revision is that of the key."""
    revision = await fenced.put(K, "1")
    assert (await store.get(K)).mod_revision == revision
    await fenced.delete(K)
    assert await store.get(K) is None


async def test_every_write_carries_the_proof_of_its_term(store, term):
    """Put, delete and any transaction, with and without conditions of the caller."""
    recorder = Recorder(store)
    fenced = FencedStore(recorder, KEYS, term)

    await fenced.put(K, "1")
    await fenced.delete(K)
    await fenced.commit([DeletePrefix(KEYS.kv)])
    await fenced.commit([Put(K, "2")], [Created(K, ABSENT)])

    assert len(recorder.whens) == 4
    assert all(Created(KEYS.leader, term) in when for when in recorder.whens)


async def test_a_leader_that_slept_through_its_lease_writes_nothing(store, term, clock):
    """The old leader wakes, still sure of itself, and is stopped by the store."""
    received = []
    old = FencedStore(store, KEYS, term, on_fenced=received.append)
    await old.put(K, "from a")

    clock.advance(60)  # "a" is paused; its lease ends; "b" takes over
    heir = await store.grant(5)
    new_term = await store.create(KEYS.leader, "b", lease=heir.lease)
    await FencedStore(store, KEYS, new_term).put(K, "from b")

    for write in (old.put(K, "late"), old.delete(K), old.commit([DeletePrefix(KEYS.root)])):
        with pytest.raises(FencedError, match=f"term {term} is over"):
            await write
    assert (await store.get(K)).value == "from b"
    assert len(received) == 1


async def test_a_term_without_a_leader_key_is_over(store, fenced, clock):
    """Nobody leads yet, and the old leader may not write all the same."""
    clock.advance(60)
    with pytest.raises(FencedError):
        await fenced.put(K, "late")
    assert await store.get(K) is None


async def test_a_condition_of_the_caller_that_fails_is_a_conflict(fenced, store, term):
    """The term goes on; nothing was written."""
    revision = await fenced.put(K, "1")
    with pytest.raises(ConflictError, match=K):
        await fenced.commit([Put(K, "2")], [Modified(K, revision - 1)])
    await fenced.commit([Put(K, "3")], [Modified(K, revision)])
    assert (await store.get(K)).value == "3"


async def test_the_last_writer_wins_over_what_others_wrote(fenced, store):
    """An operator changed the key, and the copy does not know of it yet."""
    await fenced.put(K, "1")
    await store.commit([Put(K, "by hand")])
    await fenced.put(K, "2")
    assert (await store.get(K)).value == "2"


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("lost", [Lost.REFUSED, Lost.REQUEST, Lost.ANSWER])
async def test_a_lost_write_is_done_once(fenced, cable, store, lost, existed):
    """Whatever was lost on the way, request or answer: it stands there, at one revision."""
    if existed:
        await fenced.put(K, "0")
    cable.losing = losing(*([Lost.NOTHING] * (fenced._mirror is None)), lost)

    revision = await fenced.put(K, "1")

    record = await store.get(K)
    assert (record.value, record.mod_revision) == ("1", revision)
    # After a lost answer, the key ``order`` was written last.
    last = (await store.status()).revision
    assert last == revision + (lost is Lost.ANSWER)


@pytest.mark.parametrize("lost", [Lost.REQUEST, Lost.ANSWER])
async def test_a_lost_transaction_is_done_once(fenced, cable, store, lost):
    """Puts and deletions of several keys, with a condition that its own first attempt breaks."""
    await fenced.put(KEYS.entry("b"), "x")
    reads = 3 if fenced._mirror is None else 0
    cable.losing = losing(*([Lost.NOTHING] * reads), lost)

    revision = await fenced.commit(
        [Put(KEYS.entry("a"), "1"), Delete(KEYS.entry("b")), Put(KEYS.entry("c"), "2")],
        [Created(KEYS.entry("a"), ABSENT)],
    )

    listing = await store.list(KEYS.kv)
    assert [(r.key, r.mod_revision) for r in listing.records] == [
        (KEYS.entry("a"), revision),
        (KEYS.entry("c"), revision),
    ]


async def test_a_write_that_stays_unclear_says_so(fenced, cable):
    """Never "done", never "not done"."""
    cable.losing = losing(*([Lost.NOTHING] * (fenced._mirror is None)), *[Lost.ANSWER] * 99)
    with pytest.raises(OutcomeUnknownError, match=K):
        await fenced.put(K, "1", timeout_s=0.5)


async def test_a_write_that_was_surely_not_sent_says_so(fenced, cable, store):
    """The caller may simply try again."""
    cable.lose(Lost.REFUSED)
    with pytest.raises(StoreUnavailableError) as caught:
        await fenced.put(K, "1", timeout_s=0.05)
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert await store.get(K) is None


async def test_an_unclear_write_that_somebody_wrote_over_stays_unclear(cable, store, term):
    """Writing it again would undo what came after it."""
    fenced = FencedStore(Meddler(cable, store), KEYS, term)
    cable.losing = losing(Lost.NOTHING, Lost.ANSWER)
    with pytest.raises(OutcomeUnknownError):
        await fenced.put(K, "1")
    assert (await store.get(K)).value == "newer, by hand"


async def test_a_write_held_up_on_its_way_cannot_undo_a_newer_one(cable, store, term, clock):
    """The first attempt arrives after all, long after it was given up; the term still leads."""
    recorder = Recorder(store)
    await FencedStore(recorder, KEYS, term).put(K, "old")
    held_up = recorder.whens[-1]
    await FencedStore(store, KEYS, term).put(K, "new")

    outcome = await store.commit([Put(K, "old")], when=held_up)

    assert not outcome.succeeded
    assert (await store.get(K)).value == "new"


async def test_a_frozen_write_arrives_after_the_term_and_is_refused(cable, store, term, clock):
    """The request was on its way when its sender's host stood still."""
    fenced = FencedStore(cable, KEYS, term)
    await fenced.put(K, "in time")
    async with asyncio.TaskGroup() as group:
        cable.losing = losing(Lost.NOTHING, Lost.FROZEN)
        cable._healthy.clear()
        late = group.create_task(_outcome_of(fenced.put(K, "late")))
        for _ in range(5):
            await asyncio.sleep(0)
        clock.advance(60)
        heir = await store.grant(5)
        await store.create(KEYS.leader, "b", lease=heir.lease)
        cable.heal()
    assert isinstance(late.result(), FencedError)
    assert (await store.get(K)).value == "in time"


async def _outcome_of(work):
    try:
        return await work
    except FencedError as error:
        return error


async def test_writes_to_one_key_are_done_in_the_order_they_were_asked(cable, store, term):
    """A second attempt of the first does not overtake the second."""
    fenced = FencedStore(cable, KEYS, term)
    cable.losing = losing(Lost.NOTHING, Lost.REQUEST, Lost.REQUEST)
    async with asyncio.TaskGroup() as group:
        for value in "123":
            group.create_task(fenced.put(K, value))
    assert (await store.get(K)).value == "3"
    assert fenced._turns.running == []


async def test_a_deleted_prefix_waits_for_the_keys_under_it(cable, store, term):
    """And keys under it wait for the deletion."""
    fenced = FencedStore(cable, KEYS, term)
    cable.losing = losing(Lost.NOTHING, Lost.REQUEST)
    async with asyncio.TaskGroup() as group:
        group.create_task(fenced.put(KEYS.entry("a"), "1"))
        group.create_task(fenced.commit([DeletePrefix(KEYS.kv)]))
        group.create_task(fenced.put(KEYS.entry("b"), "2"))
    assert [r.key for r in (await store.list(KEYS.kv)).records] == [KEYS.entry("b")]


async def test_writes_to_different_keys_do_not_wait_for_each_other(cable, store, term):
    """One that is stuck holds up its own key only, and what waits for it has a limit."""
    fenced = FencedStore(cable, KEYS, term)
    async with asyncio.TaskGroup() as group:
        cable.lose(Lost.FROZEN)
        stuck = group.create_task(fenced.put(K, "1"))
        await asyncio.sleep(0)
        cable.losing = losing()
        await fenced.put(KEYS.entry("other"), "2")
        with pytest.raises(StoreUnavailableError, match="not sent"):
            await fenced.put(K, "3", timeout_s=0.01)
        cable.heal()
    assert stuck.done()
    assert (await store.get(K)).value == "1"


async def test_the_mirror_shows_a_write_when_it_returns(store, term, clock):
    """Reading what one has just written is no question of patience."""
    mirror = Mirror(store, KEYS.root, clock)
    fenced = FencedStore(store, KEYS, term, mirror=mirror)
    lease = (await store.grant(9)).lease

    await fenced.put(KEYS.entry("a"), "1", lease)
    await fenced.put(KEYS.entry("a"), "2", lease)
    await fenced.put(KEYS.entry("b"), "3")
    assert mirror.get(KEYS.entry("a")) == await store.get(KEYS.entry("a"))

    await fenced.delete(KEYS.entry("b"))
    assert mirror.get(KEYS.entry("b")) is None

    await fenced.commit([DeletePrefix(KEYS.kv)])
    assert mirror.list(KEYS.root) == {}


async def test_what_does_not_fit_with_its_proofs_is_refused(fenced):
    """Nothing is split: in parts it would not be atomic."""
    most = OPERATIONS_MAX - FENCE_COMPARES
    with pytest.raises(TooLargeError, match=str(most)):
        await fenced.commit([Put(KEYS.entry(str(n)), "") for n in range(most + 1)])
    await fenced.commit([Put(KEYS.entry(str(n)), "") for n in range(most)])


async def test_a_lease_that_is_gone_is_reported(fenced, store):
    """The term may still lead: another lease can be taken."""
    lease = (await store.grant(9)).lease
    await store.revoke(lease)
    with pytest.raises(LeaseExpiredError):
        await fenced.put(K, "1", lease)
