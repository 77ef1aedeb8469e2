"""The history of options: what is kept, what is brought back, what comes in between."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from mgr.config import history
from mgr.config.history import ConfigHistory, OptionChange
from mgr.errors import ConflictError, FencedError, InvalidArgumentError, OutcomeUnknownError
from mgr.store.api import Delete, Put
from mgr.store.memory import MemoryStore
from tests.support.clock import ManualClock
from tests.support.late_store import LateStore, Way
from tests.support.leading import leading

PLACE = "mgr/hello/place"


def of(term):
    """The history of a term, and a shorthand for one option's change."""
    kept = ConfigHistory(term.keys, term.mirror, term.fenced)
    key = term.keys.option("mgr", PLACE)

    async def put(value):
        await kept.commit([Put(key, value)])

    return SimpleNamespace(kept=kept, key=key, put=put)


async def test_a_change_is_kept_with_what_was_there_before():
    """Set, set again, removed: three versions, the newest first."""
    async with leading() as term:
        held = of(term)
        await held.put("Rome")
        await held.put("Oslo")
        await held.kept.commit([Delete(held.key)], "tidying")
        versions = held.kept.versions()

    assert [(each.number, each.text) for each in versions] == [(3, "tidying"), (2, ""), (1, "")]
    assert [each.changes for each in versions] == [
        (OptionChange(section="mgr", name=PLACE, previous="Oslo", value=None),),
        (OptionChange(section="mgr", name=PLACE, previous="Rome", value="Oslo"),),
        (OptionChange(section="mgr", name=PLACE, previous=None, value="Rome"),),
    ]


async def test_what_changes_nothing_makes_no_version():
    """But it is written: the term is proven by it."""
    async with leading() as term:
        held = of(term)
        await held.put("Rome")
        await held.put("Rome")

        assert [each.number for each in held.kept.versions()] == [1]

        await term.depose()
        with pytest.raises(FencedError):
            await held.put("Rome")


async def test_a_term_that_is_over_leaves_neither_change_nor_version():
    """Both stand in one guarded transaction."""
    async with leading() as term:
        held = of(term)
        await held.put("Rome")
        await term.depose()
        with pytest.raises(FencedError):
            await held.put("Oslo")
        stored = await term.store.get(held.key)
        versions = await term.store.list(term.keys.changes)

    assert stored.value == "Rome"
    assert len(versions.records) == 1


async def test_changes_that_meet_get_versions_of_their_own():
    """Each knows what the one before it wrote."""

    class Slow:
        def __init__(self, inner):
            self._inner = inner

        async def commit(self, *args, **kwargs):
            await asyncio.sleep(0)
            return await self._inner.commit(*args, **kwargs)

    async with leading() as term:
        key = term.keys.option("mgr", PLACE)
        kept = ConfigHistory(term.keys, term.mirror, Slow(term.fenced))
        async with asyncio.TaskGroup() as tasks:
            for number in range(5):
                tasks.create_task(kept.commit([Put(key, str(number))]))
        versions = kept.versions()[::-1]

    assert [each.number for each in versions] == [1, 2, 3, 4, 5]
    values = [each.changes[0].value for each in versions]
    assert [each.changes[0].previous for each in versions] == [None, *values[:-1]]


async def test_a_successor_counts_on():
    """The history is the cluster's, not the term's."""
    async with leading() as term:
        await of(term).put("Rome")
        held = of(await term.succeed())
        await held.put("Oslo")

        assert [each.number for each in held.kept.versions()] == [2, 1]


class Stalled:
    """A store that tells nobody of changes until it flows again."""

    def __init__(self):
        self._inner = MemoryStore(ManualClock())
        self.flows = asyncio.Event()
        self.flows.set()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def follow(self, prefix):
        async for news in self._inner.follow(prefix):
            await self.flows.wait()
            yield news


@contextlib.asynccontextmanager
async def unheard_change(monkeypatch):
    """Rome is set and heard of; Oslo is set as well, but neither answer nor feed tells of it."""
    async with leading(store := Stalled()) as term:
        held = of(term)
        await held.put("Rome")
        store.flows.clear()
        lost = [Way.LOST_AFTER, *[Way.LOST_BEFORE] * 30]
        term.fenced._store = late = LateStore(store, lost)
        with monkeypatch.context() as patch:
            patch.setattr(history, "TIMEOUT_S", 0.02)
            with pytest.raises(OutcomeUnknownError):
                await held.put("Oslo")
        late.ways = []
        asyncio.get_running_loop().call_later(0.05, store.flows.set)
        yield term, held
        assert (await store.get(held.key)).mod_revision == term.mirror.get(held.key).mod_revision


async def recorded(term, held):
    """What the history says, oldest first, once the feed tells of everything."""
    await term.mirror.wait_for_revision((await term.store.status()).revision, 5)
    changes = [each.changes[0] for each in held.kept.versions()[::-1]]
    return [(change.previous, change.value) for change in changes]


async def test_a_change_knows_the_one_before_it_that_was_not_answered(monkeypatch):
    """So a reset to that one brings its value back."""
    async with unheard_change(monkeypatch) as (term, held):
        await held.put("Bonn")

        assert await recorded(term, held) == [(None, "Rome"), ("Rome", "Oslo"), ("Oslo", "Bonn")]
        assert await held.kept.reset(2)
        assert term.mirror.get(held.key).value == "Oslo"


async def test_what_only_seems_to_change_nothing_is_a_version(monkeypatch):
    """It takes back a change that this manager had not heard of."""
    async with unheard_change(monkeypatch) as (term, held):
        await held.put("Rome")

        assert await recorded(term, held) == [(None, "Rome"), ("Rome", "Oslo"), ("Oslo", "Rome")]


async def test_a_version_this_manager_never_heard_of_is_not_overwritten(monkeypatch):
    """An attempt without an answer may have come through: the next change takes the next number."""
    async with unheard_change(monkeypatch) as (term, held):
        await held.kept.commit([Put(term.keys.option("mgr", "other"), "1")])

        assert [each.number for each in held.kept.versions()] == [3, 2, 1]
        assert [each.changes[0].name for each in held.kept.versions()] == ["other", PLACE, PLACE]


async def test_a_change_knows_what_somebody_wrote_past_the_manager():
    """There is no version of that, but what it left is what the next change replaces."""
    async with leading(store := Stalled()) as term:
        held = of(term)
        await held.put("Rome")
        store.flows.clear()
        await store.commit([Put(held.key, "Oslo")])
        asyncio.get_running_loop().call_later(0.05, store.flows.set)
        await held.put("Bonn")

        assert await recorded(term, held) == [(None, "Rome"), ("Oslo", "Bonn")]


async def test_as_many_options_as_a_transaction_holds_are_one_version():
    """There is no room for a condition for each of them."""
    async with leading() as term:
        held = of(term)
        many = [Put(term.keys.option("mgr", f"option{number}"), "1") for number in range(120)]
        await held.kept.commit(many)

        assert len(held.kept.versions()[0].changes) == 120


async def test_options_that_are_rewritten_all_the_time_are_a_conflict():
    """It ends, and says that nothing was written."""
    async with leading() as term:
        held = of(term)
        await held.put("Rome")

        class Busy:
            def __getattr__(self, name):
                return getattr(term.store, name)

            async def commit(self, operations, **more):
                await term.store.commit([Put(held.key, "theirs")])
                return await term.store.commit(operations, **more)

        term.fenced._store = Busy()
        with pytest.raises(ConflictError):
            await held.put("Oslo")
        assert (await term.store.get(held.key)).value == "theirs"


@pytest.mark.parametrize(("number", "value"), [(0, None), (1, "Rome"), (2, "Oslo"), (3, None)])
async def test_reset_brings_back_what_held_after_a_version(number, value):
    """As a version of its own, which can be undone like any other."""
    async with leading() as term:
        held = of(term)
        await held.put("Rome")
        await held.put("Oslo")
        await held.kept.commit([Delete(held.key)])
        await held.put("Bonn")

        assert await held.kept.reset(number)
        record = term.mirror.get(held.key)
        newest = held.kept.versions()[0]

        assert (record.value if record else None) == value
        assert (newest.number, newest.text) == (5, f"reset to {number}")
        assert await held.kept.reset(4)
        assert term.mirror.get(held.key).value == "Bonn"


async def test_reset_to_what_holds_changes_nothing():
    """Also where the way there and back is long."""
    async with leading() as term:
        held = of(term)
        await held.put("Rome")
        await held.put("Oslo")
        await held.put("Rome")

        assert not await held.kept.reset(3)
        assert not await held.kept.reset(1)
        assert len(held.kept.versions()) == 3


async def test_old_versions_make_room_and_cannot_be_reset_to(monkeypatch):
    """The state before the oldest version that is kept can still be told."""
    monkeypatch.setattr(history, "VERSIONS_MAX", 3)
    async with leading() as term:
        held = of(term)
        for number in range(1, 7):
            await held.put(f"v{number}")

        assert [each.number for each in held.kept.versions()] == [6, 5, 4]
        for number in (2, 7, -1):
            with pytest.raises(InvalidArgumentError, match=r"versions \(3 to 6\)"):
                await held.kept.reset(number)
        assert await held.kept.reset(3)
        assert term.mirror.get(held.key).value == "v3"


async def test_versions_have_a_limit_in_bytes_too(monkeypatch):
    """A hundred large values must not fill every manager's memory."""
    monkeypatch.setattr(history, "BYTES_MAX", 1000)
    async with leading() as term:
        held = of(term)
        for number in range(5):
            await held.put(f"{number}" + "x" * 300)

        assert [each.number for each in held.kept.versions()] == [5, 4]


async def test_an_unreadable_version_is_passed_over(caplog):
    """Somebody's hand in etcd must not stop a manager; its number is taken all the same."""
    async with leading() as term:
        held = of(term)
        await term.fenced.put(term.keys.change(7), "{")
        await held.put("Rome")

        assert [each.number for each in held.kept.versions()] == [8]
    assert "unreadable version of options" in caplog.text


async def test_a_change_without_an_answer_raises_and_the_next_one_goes_on():
    """Nobody waits for ever for the turn of a change that failed."""

    class Mute:
        async def commit(self, *_, **__):
            raise OutcomeUnknownError("no answer")

    async with leading() as term:
        key = term.keys.option("mgr", PLACE)
        kept = ConfigHistory(term.keys, term.mirror, Mute())
        for _ in range(2):
            with pytest.raises(OutcomeUnknownError):
                await kept.commit([Put(key, "Rome")])
