"""Requests that were held up on their way, and come back when something newer was acknowledged."""

import asyncio
import contextlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgr.errors import (
    ConflictError,
    FencedError,
    MgrError,
    OutcomeUnknownError,
    StoreUnavailableError,
)
from mgr.store import turns
from mgr.store.api import ABSENT, Created, Delete, DeletePrefix, Put
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from mgr.store.mirror import Mirror
from tests.support.clock import ManualClock
from tests.support.late_store import LateStore, Unordered, Way
from tests.support.virtual_loop import VirtualClock, VirtualLoop

KEYS = Keys("c")
K = KEYS.entry("k")
OTHER = KEYS.entry("other")
SHORT_S = 0.01
"""Patience for a single attempt and its repetition."""

WRITES = {
    "put k": (Put(K, "{n}"),),
    "delete k": (Delete(K),),
    "put other": (Put(OTHER, "{n}"),),
    "delete other": (Delete(OTHER),),
    "delete all": (DeletePrefix(KEYS.kv),),
    "put both": (Put(K, "{n}"), Put(OTHER, "{n}")),
    "swap": (Put(K, "{n}"), Delete(OTHER)),
}
ASKED = {"ask k": ((K,), ()), "ask all": ((), (KEYS.kv,))}
"""What is asked for by ``FencedStore.read_settled``."""


@pytest.fixture
def store():
    return MemoryStore(ManualClock())


@pytest.fixture
def late(store):
    return LateStore(store)


@pytest.fixture
async def term(store):
    grant = await store.grant(5)
    return await store.create(KEYS.leader, "a", lease=grant.lease)


@pytest.fixture
def fenced(late, term):
    return FencedStore(late, KEYS, term)


async def let_all_arrive(late):
    """Whatever is still on its way reaches the store now."""
    while late.held:
        await late.arrive()


@pytest.mark.parametrize("undo", [Delete(K), DeletePrefix(KEYS.kv)])
async def test_a_held_up_put_of_a_new_key_does_not_undo_its_deletion(fenced, late, store, undo):
    """Put, acknowledged by its second attempt; deletion, acknowledged; then the first arrives."""
    late.ways = [Way.HELD]
    await fenced.put(K, "1")
    await fenced.commit([undo])

    await let_all_arrive(late)

    assert await store.get(K) is None


async def test_without_the_compare_of_order_the_deletion_is_undone(late, store, term):
    """The broken build: the test above can fail."""
    fenced = FencedStore(LateStore(Unordered(store), [Way.HELD]), KEYS, term)
    await fenced.put(K, "1")
    await fenced.delete(K)

    await let_all_arrive(fenced._store)

    assert (await store.get(K)).value == "1"


async def test_a_held_up_deletion_of_a_prefix_takes_no_later_key_along(fenced, late, store):
    """It compares no key at all, so nothing but ``order`` can stop it."""
    late.ways = [Way.HELD]
    await fenced.commit([DeletePrefix(KEYS.kv)])
    await fenced.put(K, "later")

    await let_all_arrive(late)

    assert (await store.get(K)).value == "later"


async def test_a_caller_that_gave_up_leaves_nothing_behind_that_could_land_later(
    fenced, late, store
):
    """Neither attempt nor barrier was answered: the next write settles it before it is sent."""
    late.ways = [Way.HELD, Way.HELD, Way.HELD]
    with pytest.raises(OutcomeUnknownError, match=K):
        await fenced.put(K, "1", timeout_s=SHORT_S)
    await fenced.delete(K)

    await let_all_arrive(late)

    assert await store.get(K) is None


async def test_a_cancelled_caller_leaves_nothing_behind_that_could_land_later(fenced, late, store):
    """The client went away while its write was on the way."""
    late.ways = [Way.LEFT]
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(fenced.put(K, "1"))
    assert gone.cancelled()
    await fenced.delete(K)

    await let_all_arrive(late)

    assert await store.get(K) is None


async def test_a_write_to_an_unsettled_key_is_not_sent_before_it_is_settled(fenced, late, store):
    """Where no barrier gets through, the next write to the key surely was not done."""
    late.ways = [Way.HELD, Way.LOST_BEFORE, *[Way.LOST_BEFORE] * 9]
    with pytest.raises(OutcomeUnknownError):
        await fenced.put(K, "1", timeout_s=SHORT_S)

    with pytest.raises(StoreUnavailableError, match="could not be found out in time") as caught:
        await fenced.put(K, "2", timeout_s=SHORT_S)

    assert not isinstance(caught.value, OutcomeUnknownError)
    late.ways = []
    await let_all_arrive(late)
    assert (await store.get(K)).value == "1"
    await fenced.put(K, "3")
    assert (await store.get(K)).value == "3"


async def test_other_keys_do_not_wait_for_an_unsettled_one(fenced, late, store):
    """They are written at once, and it stays unsettled."""
    late.ways = [Way.HELD, Way.LOST_BEFORE, Way.LOST_BEFORE]
    with pytest.raises(OutcomeUnknownError):
        await fenced.put(K, "1", timeout_s=SHORT_S)
    late.ways = []
    before = late.sent
    await fenced.put(OTHER, "2")
    assert late.sent == before + 1


async def test_a_barrier_of_another_write_is_no_conflict_and_no_lost_term(fenced, late, store):
    """A write that is refused because ``order`` moved is sent again, with its condition."""
    received = []
    fenced._on_fenced = received.append
    await store.commit([Put(KEYS.order, "moved")])

    await fenced.commit([Put(K, "1")], [Created(K, ABSENT)])

    assert (await store.get(K)).value == "1"
    assert (received, late.sent) == ([], 2)


async def test_a_barrier_that_arrives_late_does_no_harm(fenced, late, store):
    """It was held up itself; its repetition did the work."""
    late.ways = [Way.HELD, Way.HELD]
    await fenced.put(K, "1")
    await fenced.put(K, "2")

    await let_all_arrive(late)
    await fenced.put(OTHER, "3")

    assert (await store.get(K)).value == "2"


async def test_order_deleted_by_hand_stops_no_write(fenced, late, store):
    """What a refusal shows is used, also where it is older than what was known."""
    late.ways = [Way.LOST_BEFORE]
    await fenced.put(K, "1")
    await store.commit([Delete(KEYS.order)])
    await fenced.put(K, "2")
    assert (await store.get(K)).value == "2"


async def test_a_new_term_begins_with_the_order_of_the_old_one(fenced, late, store):
    """A mirror shows it, so that the first write is not refused."""
    late.ways = [Way.LOST_BEFORE]
    await fenced.put(K, "1")
    await store.commit([Delete(KEYS.leader)])
    lease = (await store.grant(5)).lease
    term = await store.create(KEYS.leader, "b", lease=lease)
    mirror = Mirror(store, KEYS.root, ManualClock())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(mirror.run())
        await mirror.wait_for_revision(term, 1)
        before = late.sent
        await FencedStore(late, KEYS, term, mirror=mirror).put(K, "2")
        running.cancel()
    assert late.sent == before + 1


@pytest.mark.parametrize("lost", [Way.LOST_BEFORE, Way.LOST_AFTER])
async def test_what_became_of_a_write_of_a_term_that_is_over_is_reported_where_it_shows(
    fenced, late, store, term, lost
):
    """An unchanged record proves "not done"; what stands as asked proves "done"."""
    await fenced.put(K, "0")
    late.ways = [lost]
    late.arrivals[late.sent + 1] = 1

    async def depose():
        await store.commit([Delete(KEYS.leader)])

    late.held.append(depose)
    if lost is Way.LOST_AFTER:
        assert await fenced.put(K, "1") == (await store.get(K)).mod_revision
    else:
        with pytest.raises(FencedError):
            await fenced.put(K, "1")


async def test_a_new_key_of_a_term_that_is_over_stays_unknown(fenced, late, store):
    """The successor may have deleted it already: "not done" would be a guess."""
    late.ways = [Way.LOST_BEFORE]
    late.arrivals[1] = 1

    async def depose():
        await store.commit([Delete(KEYS.leader)])

    late.held.append(depose)
    with pytest.raises(OutcomeUnknownError):
        await fenced.put(K, "1")


async def test_a_conflict_that_a_lost_prefix_deletion_may_have_made_itself_is_unknown(
    fenced, late, store
):
    """It leaves no trace, so it is sent again; then its own condition does not hold any more."""
    made = await fenced.put(K, "1")
    late.ways = [Way.LOST_AFTER]
    with pytest.raises(OutcomeUnknownError):
        await fenced.commit([DeletePrefix(KEYS.kv)], [Created(K, made)])
    assert await store.get(K) is None
    with pytest.raises(ConflictError):
        await fenced.commit([DeletePrefix(KEYS.kv)], [Created(K, made)])


async def test_one_barrier_settles_several_writes(fenced, late, store):
    """All were sent before it: whose own comes second is refused, and reads."""
    late.ways = [Way.LOST_AFTER, Way.HELD, Way.HELD]
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(fenced.put(KEYS.entry(f"{number}"), f"{number}"))
    await fenced.commit([DeletePrefix(KEYS.kv)])

    await let_all_arrive(late)

    assert (await store.list(KEYS.kv)).records == ()


async def test_unsettled_writes_are_bounded(fenced, late, store, monkeypatch):
    """Beyond the limit one entry stands for every key."""
    monkeypatch.setattr(turns, "UNSETTLED_MAX", 3)
    for number in range(4):
        late.ways = [Way.HELD, Way.LOST_BEFORE, Way.LOST_BEFORE]
        with pytest.raises(OutcomeUnknownError):
            await fenced.put(KEYS.entry(f"{number}"), "1", timeout_s=SHORT_S)
    assert len(fenced._turns._unsettled) == 1
    late.ways = []
    await fenced.put(OTHER, "2")
    await let_all_arrive(late)
    assert [r.key for r in (await store.list(KEYS.kv)).records] == [OTHER]
    assert fenced._turns._unsettled == []


class Slow:
    """A store in which the next barrier is on its way for a while, once ``armed``."""

    def __init__(self, inner):
        self.armed = False
        self.go, self.reached = asyncio.Event(), asyncio.Event()
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def commit(self, operations, **more):
        if self.armed and operations[0].key == KEYS.order:
            self.armed = False
            self.reached.set()
            await self.go.wait()
        return await self._inner.commit(operations, **more)


async def test_a_barrier_settles_no_attempt_that_compares_more_than_it_does(
    late, store, term, monkeypatch
):
    """``order`` moves while it is on its way, and too many newer attempts are unsettled then."""
    monkeypatch.setattr(turns, "UNSETTLED_MAX", 1)
    slow = Slow(late)
    fenced = FencedStore(slow, KEYS, term)

    async def give_up(key):
        late.ways = [Way.HELD, *[Way.LOST_BEFORE] * 9]
        with pytest.raises(OutcomeUnknownError):
            await fenced.put(key, "1", timeout_s=SHORT_S)
        late.ways = []

    await give_up(K)
    slow.armed = True
    async with asyncio.TaskGroup() as group:
        group.create_task(fenced.delete(K))
        await slow.reached.wait()
        late.ways = [Way.LOST_BEFORE]
        await fenced.put(OTHER, "2")
        await give_up(KEYS.entry("new"))
        await give_up(KEYS.entry("newer"))
        slow.go.set()
    await fenced.delete(KEYS.entry("new"))

    await let_all_arrive(late)

    assert await store.get(KEYS.entry("new")) is None


# -- every order of events -----------------------------------------------------------------------


def applied(state, operations):
    """``state`` after ``operations``."""
    state = dict(state)
    for operation in operations:
        if isinstance(operation, Put):
            state[operation.key] = operation.value
        elif isinstance(operation, Delete):
            state.pop(operation.key, None)
        else:
            state = {k: v for k, v in state.items() if not k.startswith(operation.prefix)}
    return state


async def play(groups, ways, arrivals, patience_s, wrapped, mirrored):
    """Do the writes of each group at once, group after group; fail where one is undone.

    ``possible`` are the states that may stand in the store: one, while everything was
    acknowledged; the one before as well, from a write of unknown outcome to the next one, or
    until it is asked what stands there.
    """
    store = MemoryStore(ManualClock())
    lease = (await store.grant(5)).lease
    term = await store.create(KEYS.leader, "a", lease=lease)
    late = LateStore(wrapped(store), ways)
    late.arrivals = dict(arrivals)
    mirror = Mirror(store, KEYS.root, ManualClock()) if mirrored else None
    fenced = FencedStore(late, KEYS, term, mirror=mirror)
    possible, count = [{}], 0

    async def stands():
        return {r.key: r.value for r in (await store.list(KEYS.kv)).records}

    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(mirror.run()) if mirror is not None else None
        for group in groups:
            under_way = []
            async with asyncio.TaskGroup() as writes:
                for name in group:
                    operations = numbered(WRITES.get(name, ()), count := count + 1)
                    if name in ASKED:
                        work = fenced.read_settled(*ASKED[name], timeout_s=patience_s)
                    else:
                        work = fenced.commit(operations, timeout_s=patience_s)
                    under_way.append((name, operations, writes.create_task(outcome_of(work))))
            # Those that touch the same keys are done in the order in which they were asked for.
            for name, operations, write in under_way:
                outcome = None if write.cancelled() else write.result()
                possible = narrowed(possible, name, operations, outcome)
            assert await stands() in possible, f"after {group}"
        for _ in range(len(late.held)):
            await late.arrive()
            assert await stands() in possible, "a late request undid what was acknowledged"
        if following is not None:
            following.cancel()


def part(state, keys, prefixes):
    """What ``state`` holds at ``keys`` and under ``prefixes``."""
    return {k: value for k, value in state.items() if k in keys or k.startswith(prefixes)}


def narrowed(possible, name, operations, outcome):
    """Which states may stand in the store after ``name`` ended so."""
    after = [applied(state, operations) for state in possible]
    if isinstance(outcome, dict):
        found = {key: record.value for key, record in outcome.items()}
        return [state for state in possible if part(state, *ASKED[name]) == found]
    if isinstance(outcome, int):
        return after
    if outcome is None or isinstance(outcome, OutcomeUnknownError):
        return [*possible, *after]
    return possible


def numbered(operations, number):
    """The same with a value that no other write has."""
    return tuple(Put(op.key, str(number)) if isinstance(op, Put) else op for op in operations)


async def outcome_of(work):
    try:
        return await work
    except MgrError as error:
        return error


def played(*script, wrapped=lambda store: store, mirrored=False):
    """Play a script on a loop whose time jumps."""
    loop = VirtualLoop(VirtualClock())
    with contextlib.closing(loop):
        loop.run_until_complete(play(*script, wrapped, mirrored))


GROUP = st.lists(st.sampled_from(sorted({**WRITES, **ASKED})), min_size=1, max_size=3)
SCRIPTS = st.tuples(
    st.lists(GROUP, min_size=2, max_size=5),
    st.lists(st.sampled_from(Way), max_size=12),
    st.dictionaries(st.integers(1, 20), st.integers(1, 2), max_size=4),
    st.sampled_from([SHORT_S, 5.0]),
)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(SCRIPTS, st.booleans())
def test_nothing_acknowledged_is_undone_in_any_order_of_events(script, mirrored):
    """Writes one by one or at once: lost, held up, given up, cancelled, arriving at any time."""
    played(*script, mirrored=mirrored)


FEW = ("put k", "delete k", "delete all")
SMALL = [
    ([[name] for name in names], ways, {at: 1}, patience_s)
    for names in itertools.product(FEW, FEW, (*FEW, "ask k"))
    for ways in itertools.product(Way, repeat=2)
    for at in (1, 2, 3, 4, 5, 99)
    for patience_s in (SHORT_S, 5.0)
]


def play_small_stories(**how):
    for script in SMALL:
        played(*script, **how)


def test_nothing_acknowledged_is_undone_in_any_small_story():
    """Three writes to one key and every pair of troubles at the beginning."""
    play_small_stories()


def test_a_build_without_the_compare_of_order_is_found():
    """The same stories find it: the tests above can fail."""
    with pytest.raises(ExceptionGroup) as caught:
        play_small_stories(wrapped=Unordered)
    assert caught.group_contains(AssertionError, match="undid what was acknowledged")
