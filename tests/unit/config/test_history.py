"""The history of options: what is kept, what is brought back, what comes in between."""

import asyncio
from types import SimpleNamespace

import pytest

from mgr.config import history
from mgr.config.history import Change, ConfigHistory
from mgr.errors import FencedError, InvalidArgumentError, OutcomeUnknownError
from mgr.store.api import Delete, Put
from tests.support.office import office

PLACE = "mgr/hello/place"


def of(term):
    """The history of a term, and a shorthand for one option's change."""
    kept = ConfigHistory(term.keys, term.mirror, term.fenced)
    key = term.keys.option("mgr", PLACE)

    async def put(value):
        await kept.commit([Put(key, value)])

    return SimpleNamespace(kept=kept, key=key, put=put)


async def test_a_change_is_kept_with_what_was_there_before():
    """Set, set anew, removed: three versions, the newest first."""
    async with office() as term:
        held = of(term)
        await held.put("Rome")
        await held.put("Oslo")
        await held.kept.commit([Delete(held.key)], "tidying")
        versions = held.kept.versions()

    assert [(each.number, each.text) for each in versions] == [(3, "tidying"), (2, ""), (1, "")]
    assert [each.changes for each in versions] == [
        (Change(section="mgr", name=PLACE, previous="Oslo", value=None),),
        (Change(section="mgr", name=PLACE, previous="Rome", value="Oslo"),),
        (Change(section="mgr", name=PLACE, previous=None, value="Rome"),),
    ]


async def test_what_changes_nothing_makes_no_version():
    """But it is written: the term is proven by it."""
    async with office() as term:
        held = of(term)
        await held.put("Rome")
        await held.put("Rome")

        assert [each.number for each in held.kept.versions()] == [1]

        await term.depose()
        with pytest.raises(FencedError):
            await held.put("Rome")


async def test_a_term_that_is_over_leaves_neither_change_nor_version():
    """Both stand in one guarded transaction."""
    async with office() as term:
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

    async with office() as term:
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
    async with office() as term:
        await of(term).put("Rome")
        held = of(await term.succeed())
        await held.put("Oslo")

        assert [each.number for each in held.kept.versions()] == [2, 1]


async def test_a_version_this_manager_never_heard_of_is_not_overwritten():
    """An attempt without an answer may have come through: the next change takes the next number."""
    async with office() as term:
        held = of(term)
        await held.put("Rome")
        # A mirror that lags: it shows neither the version nor what it changed.
        lagging = SimpleNamespace(get=lambda _: None, under=lambda _: {})
        blind = ConfigHistory(term.keys, lagging, term.fenced)
        await blind.commit([Put(term.keys.option("mgr", "other"), "1")])

        assert [each.changes[0].name for each in held.kept.versions()] == ["other", PLACE]


@pytest.mark.parametrize(("number", "value"), [(0, None), (1, "Rome"), (2, "Oslo"), (3, None)])
async def test_reset_brings_back_what_held_after_a_version(number, value):
    """As a version of its own, which can be undone like any other."""
    async with office() as term:
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
    async with office() as term:
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
    async with office() as term:
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
    async with office() as term:
        held = of(term)
        for number in range(5):
            await held.put(f"{number}" + "x" * 300)

        assert [each.number for each in held.kept.versions()] == [5, 4]


async def test_an_unreadable_version_is_passed_over(caplog):
    """Somebody's hand in etcd must not stop a manager; its number is taken all the same."""
    async with office() as term:
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

    async with office() as term:
        key = term.keys.option("mgr", PLACE)
        kept = ConfigHistory(term.keys, term.mirror, Mute())
        for _ in range(2):
            with pytest.raises(OutcomeUnknownError):
                await kept.commit([Put(key, "Rome")])
