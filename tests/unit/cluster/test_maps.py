"""Published maps: versions, conditions, limits, and watches that never queue."""

import asyncio
import contextlib
import json

import pytest

from mgr.cluster import maps as published
from mgr.cluster.maps import BYTES_MAX, DEPTH_MAX, Map, MapRemoved, Maps
from mgr.errors import (
    ConflictError,
    FencedError,
    InvalidArgumentError,
    NotFoundError,
    NotPermittedError,
    TooLargeError,
)
from mgr.store.api import Put
from tests.support.leading import leading


class BuiltinDocuments:
    """The manager's documents: one, and a name that is kept free."""

    def get(self, name):
        return {"epoch": 3} if name == "mgr_map" else None

    def reserved(self, name):
        return name.startswith("mgr_")


@contextlib.asynccontextmanager
async def keeping():
    """The maps of an active manager, and its term."""
    async with leading() as held:
        yield Maps(held.mirror, held.keys, held.fenced, BuiltinDocuments()), held


async def test_a_version_grows_with_every_change_also_across_removals():
    """So a reader can tell a map that came again from the one that it knew."""
    async with keeping() as (maps, _):
        first = await maps.set("racks", '{"a": 1}')
        second = await maps.set("racks", '{"a": 2}')
        other = await maps.set("other", "{}")
        await maps.remove("racks")
        third = await maps.set("racks", '{"a": 1}')

        assert first < second < other < third
        assert maps.get("racks") == Map("racks", third, '{"a": 1}')


async def test_publishing_the_same_again_changes_nothing():
    """A publisher may repeat itself every second: nobody is notified, nothing is written."""
    async with keeping() as (maps, held):
        version = await maps.set("racks", '{"a": 1}')
        before = await held.store.status()

        assert await maps.set("racks", '{"a": 1}') == version
        assert await held.store.status() == before


async def test_a_map_is_changed_only_from_the_version_that_was_expected():
    """0 expects that there is none; the error names the current version."""
    async with keeping() as (maps, _):
        version = await maps.set("racks", '{"n": 1}', 0)

        with pytest.raises(ConflictError, match=f"is at version {version}; version 0 was expected"):
            await maps.set("racks", '{"n": 2}', 0)
        with pytest.raises(ConflictError):
            await maps.remove("racks", version + 1)
        with pytest.raises(ConflictError, match="is not there"):
            await maps.set("other", "{}", version)
        assert await maps.set("racks", '{"n": 2}', version) > version


async def test_of_two_that_expect_the_same_version_one_loses_even_with_the_same_document():
    """Both counted one up: had both succeeded, one would be missing."""
    async with keeping() as (maps, _):
        version = await maps.set("count", '{"n": 1}')
        outcomes = []

        async def count_up():
            try:
                outcomes.append(await maps.set("count", '{"n": 2}', version))
            except ConflictError as error:
                outcomes.append(error)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(count_up())
            tasks.create_task(count_up())

        assert {type(each) for each in outcomes} == {int, ConflictError}


@pytest.mark.parametrize("name", ["", "a/b", "-a", "ä", "a" * 64, "a\n", "a b"])
async def test_a_name_that_is_no_part_of_a_key_is_refused(name):
    """As for clusters, managers and modules."""
    async with keeping() as (maps, _):
        with pytest.raises(InvalidArgumentError, match="begin with a letter or digit"):
            await maps.set(name, "{}")


async def test_a_name_of_the_manager_itself_is_refused():
    """Nobody can publish in its place."""
    async with keeping() as (maps, _):
        with pytest.raises(NotPermittedError, match="mgr_map"):
            await maps.set("mgr_map", "{}")
        assert json.loads(maps.get("mgr_map").text) == {"epoch": 3}
        assert maps.get("mgr_map").version == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ('{"a": NaN}', "is not JSON"),
        ("[]", "is no JSON object"),
        ("7", "is no JSON object"),
        ('{"a": [1e999]}', "is no JSON object: Number out of range"),
        ('{"a": [1' + "0" * 400 + ".0]}", "is no JSON object: Number out of range"),
        ('{"a": {"b": "\\ud800"}}', "is not JSON"),
        ('{"a": {"b": 1,}}', "is not JSON"),
        ('{"a": "\ud800"}', "UTF-8"),
        ('{"a":' + "[" * DEPTH_MAX + "]" * DEPTH_MAX + "}", "nested deeper than 64"),
        ('{"a":' + "[" * 400_000 + "]" * 400_000 + "}", "nested deeper than 64"),
    ],
)
async def test_what_is_no_document_is_refused(text, why):
    """Every module that reads it would stumble."""
    async with keeping() as (maps, _):
        with pytest.raises(InvalidArgumentError, match=why):
            await maps.set("racks", text)
        assert maps.find("racks") is None


async def test_a_map_as_deep_as_the_limit_is_readable():
    """And as deep as it may be, for those who copy it, too."""
    async with keeping() as (maps, _):
        await maps.set("deep", '{"a":' + "[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1) + "}")

        assert maps.read("deep")["a"]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"a[[[" * 40: "]]}"}),
        json.dumps({'a"[' * 40: {"\\": "["}}),
        '{"a": [1e22, 12345678901234567890123, 1E+200]}',
    ],
)
async def test_brackets_in_texts_are_no_structure(text):
    """And large numbers are numbers."""
    async with keeping() as (maps, _):
        await maps.set("racks", text)

        assert maps.read("racks") == json.loads(text)


async def test_one_map_and_all_maps_together_are_limited(monkeypatch):
    """Before anything is sent; replacing a map counts only what it grows by."""
    async with keeping() as (maps, _):
        with pytest.raises(TooLargeError, match=f"the limit is {BYTES_MAX}"):
            await maps.set("racks", '{"a": "' + "x" * BYTES_MAX + '"}')
        monkeypatch.setattr(published, "MAPS_MAX", 2)
        monkeypatch.setattr(published, "TOTAL_BYTES_MAX", 40)
        await maps.set("one", '{"a": "xxxxxxxxx"}')
        await maps.set("two", "{}")

        with pytest.raises(TooLargeError, match="there are 2 maps"):
            await maps.set("three", "{}")
        with pytest.raises(TooLargeError, match="all maps together"):
            await maps.set("two", '{"a": "xxxxxxxxxxxxxxxxxxxx"}')
        await maps.set("one", '{"a": "yyyyyyyyyyyyyyyyy"}')


async def test_an_unchanged_map_is_read_as_the_same_object():
    """It costs two look-ups; nobody can change it for the others, but everybody a document."""
    async with keeping() as (maps, _):
        await maps.set("racks", '{"a": {"hosts": ["h1"]}}')

        (_, first), (_, second) = maps.read_published("racks"), maps.read_published("racks")
        own = maps.read("racks")
        own["a"]["hosts"].append("h3")
        await maps.set("racks", '{"a": {"hosts": []}}')

        assert first is second
        assert first == {"a": {"hosts": ["h1"]}}
        assert maps.read("racks") == {"a": {"hosts": []}}
        for change in (lambda: first.update(a=1), lambda: first["a"]["hosts"].append("h2")):
            with pytest.raises(TypeError, match="deepcopy"):
                change()


async def test_there_is_nothing_to_read_of_a_map_that_is_gone():
    """Neither for modules nor for clients; removing it again is no error."""
    async with keeping() as (maps, _):
        await maps.set("racks", "{}")
        maps.read("racks")

        assert await maps.remove("racks") is True
        assert await maps.remove("racks") is False
        assert maps.read("racks") is None
        assert maps.read_published("racks") == (0, None)
        with pytest.raises(NotFoundError, match="there is no map 'racks'"):
            maps.get("racks")


async def test_maps_survive_a_failover_with_their_versions():
    """The successor reads what the predecessor published, and counts on from there."""
    async with keeping() as (maps, held):
        version = await maps.set("racks", '{"a": 1}')
        successor = await held.succeed()
        theirs = Maps(successor.mirror, successor.keys, successor.fenced, BuiltinDocuments())

        assert theirs.get("racks") == Map("racks", version, '{"a": 1}')
        assert await theirs.set("racks", '{"a": 2}', version) > version


async def test_a_manager_that_leads_no_more_publishes_nothing():
    """The write carries the proof of its term."""
    async with keeping() as (maps, held):
        await held.depose()

        with pytest.raises(FencedError):
            await maps.set("racks", "{}")
        assert await held.store.get(held.keys.map("racks")) is None


async def test_a_watch_begins_with_what_is_there():
    """And goes on with what changes; only names that begin as asked."""
    async with keeping() as (maps, _):
        await maps.set("rack.1", "{}")
        await maps.set("host.1", "{}")
        with maps.watch("rack.") as watch:
            first = [each.name for each in watch.first()]
            await maps.set("host.2", "{}")
            await maps.set("rack.2", "{}")
            await maps.remove("rack.1")

            assert first == ["rack.1"]
            assert (await watch.next()).name == "rack.2"
            assert await watch.next() == MapRemoved("rack.1")


async def test_who_asks_rarely_gets_the_last_state_once():
    """A thousand versions in between cost neither memory nor time."""
    async with keeping() as (maps, _):
        with maps.watch() as watch:
            assert list(watch.first()) == []
            for number in range(50):
                await maps.set("racks", json.dumps({"n": number}))
                await maps.set(f"passing.{number}", "{}")
                await maps.remove(f"passing.{number}")

            assert json.loads((await watch.next()).text) == {"n": 49}
            assert watch._changed == {}


async def test_a_map_that_is_gone_before_its_turn_is_not_shown_as_new():
    """A map that was never sent needs no removal event."""
    async with keeping() as (maps, _):
        await maps.set("a", "{}")
        await maps.set("b", "{}")
        with maps.watch() as watch:
            first = watch.first()
            assert next(first).name == "a"
            await maps.remove("b")

            assert list(first) == []
            assert watch._changed == {}


@pytest.mark.parametrize("removed", [False, True])
async def test_the_store_judges_a_condition_and_not_what_this_manager_knows(removed):
    """Its copy may be a moment old: what was written meanwhile is not overwritten."""
    async with keeping() as (maps, held):
        version = await maps.set("racks", '{"n": 1}')
        key = held.keys.map("racks")
        await held.store.commit([Put(key, '{"n": 9}')])
        known = maps.find("racks").version

        with pytest.raises(ConflictError):
            await (maps.remove("racks", version) if removed else maps.set("racks", "{}", version))

        assert known == version
        assert (await held.store.get(key)).value == '{"n": 9}'
