"""Mutes between board and store, on a running active."""

import asyncio
import contextlib

import pytest

from mgr.active.health.mutes import MuteStore
from mgr.health.board import Board
from mgr.health.check import Check
from mgr.health.mute import Mute, decode, encode
from mgr.module_api.module import MgrModule
from mgr.store.api import Put
from tests.support.builtin_commands import builtin_commands
from tests.support.held_store import HeldStore, turn_the_loop
from tests.support.leading import leading
from tests.unit.active.conftest import discovered_module

WARNING = {"severity": "warning", "summary": "odd", "count": 1}


class Odd(MgrModule):
    """A module to raise checks with."""


async def raise_check(cluster, *, count=1):
    """Have the module raise its check, on a thread that is not the loop's."""
    instance = cluster.role._modules.instance_of("odd")
    checks = {"ODD": WARNING | {"count": count}} if count else {}
    await (
        cluster.role._modules.runner_of("odd")
        ._running()
        ._bridge.to_module(lambda: instance.set_health_checks(checks))
    )


async def test_a_stored_mute_holds_on_every_active(active):
    """It was written in an earlier term and is loaded by the next."""
    async with active(discovered_module("odd", Odd), enabled=["odd"]) as cluster:
        await raise_check(cluster)
        await cluster.put(cluster.keys.mute("ODD"), encode(Mute(summary="odd", count=1)))

        assert (await cluster.health())["ODD"]["muted"] is True


async def test_an_expired_mute_is_removed_from_the_store(active):
    """Or it would come back with the next active."""
    async with active(discovered_module("odd", Odd), enabled=["odd"]) as cluster:
        await raise_check(cluster)
        await cluster.put(cluster.keys.mute("ODD"), encode(Mute(summary="odd", count=1)))

        await raise_check(cluster, count=0)

        await cluster.until(lambda: cluster.mirror.get(cluster.keys.mute("ODD")) is None)


async def test_a_mute_that_goes_down_with_its_count_keeps_its_lease(active):
    """A limit in time is the store's to keep, whoever rewrites the record."""
    async with active(discovered_module("odd", Odd), enabled=["odd"]) as cluster:
        lease = (await cluster.store.grant(60)).lease
        key = cluster.keys.mute("ODD")
        await raise_check(cluster, count=5)
        await cluster.role._fenced.put(key, encode(Mute(summary="odd", count=5)), lease)

        await raise_check(cluster, count=2)

        await cluster.until(lambda: '"count":2' in cluster.mirror.get(key).value)
        assert cluster.mirror.get(key).lease == lease


async def test_any_number_of_mutes_may_fall_at_once():
    """More than one transaction could hold."""
    async with leading() as term:
        board = Board()
        board.set("one", [Check.from_module(f"ODD_{n}", WARNING) for n in range(130)])
        for n in range(130):
            await term.fenced.put(term.keys.mute(f"ODD_{n}"), encode(Mute(summary="odd", count=1)))
        mute_store = MuteStore(board, term.mirror, term.keys, term.fenced)
        mute_store.follow()
        term.tasks.create_task(mute_store.run())

        board.set("one", [])

        async with asyncio.timeout(5):
            while term.mirror.list(term.keys.mutes):  # noqa: ASYNC110 - the store is asked
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def commands_with_mute_store():
    """A desk whose mutes are kept, a check with the count 3, and a mute of it."""
    async with builtin_commands() as at:
        at.board.set("one", [Check.from_module("X", WARNING | {"count": 3})])
        await at.run("health", "mute", "X")
        mute_store = MuteStore(
            at.board, at.leading_term.mirror, at.leading_term.keys, at.leading_term.fenced
        )
        mute_store.follow()
        at.leading_term.tasks.create_task(mute_store.run())
        yield at


@pytest.mark.parametrize(
    ("words", "count", "sticky"),
    [
        (("health", "unmute", "X"), 2, None),
        (("health", "mute", "X"), 4, True),
    ],
)
async def test_what_is_acknowledged_stands_whatever_the_count_does_meanwhile(words, count, sticky):
    """The count changes while the command's write is on its way: the keeper's comes after it."""
    async with commands_with_mute_store() as at:
        at.leading_term.fenced._store = held = HeldStore(at.leading_term.store)
        arguments = {"sticky": True} if sticky else {}
        command = at.leading_term.tasks.create_task(at.run(*words, **arguments))
        await turn_the_loop()

        at.board.set("one", [Check.from_module("X", WARNING | {"count": count})])
        await turn_the_loop()
        held.open.set()
        await command
        await turn_the_loop()

        record = await at.leading_term.store.get(at.leading_term.keys.mute("X"))
        assert (decode(record.value).sticky if record else None) == sticky
        assert ("X" in at.board.mutes) == bool(sticky)


async def test_a_mute_that_somebody_else_wrote_meanwhile_is_brought_up_to_date():
    """The keeper's write is refused; the new record goes down with the count as well."""
    async with commands_with_mute_store() as at:
        key = at.leading_term.keys.mute("X")
        at.leading_term.fenced._store = held = HeldStore(at.leading_term.store)
        at.board.set("one", [Check.from_module("X", WARNING | {"count": 1})])
        await turn_the_loop()
        await at.leading_term.store.commit([Put(key, encode(Mute(summary="odd", count=2)))])
        held.open.set()
        await turn_the_loop()

        assert decode((await at.leading_term.store.get(key)).value).count == 1


async def test_one_mute_that_was_changed_meanwhile_holds_up_no_other():
    """Each is written for itself."""
    async with commands_with_mute_store() as at:
        at.board.set("two", [Check.from_module("Y", WARNING | {"count": 3})])
        await at.run("health", "mute", "Y")
        at.leading_term.fenced._store = held = HeldStore(at.leading_term.store)
        command = at.leading_term.tasks.create_task(at.run("health", "unmute", "X"))
        await turn_the_loop()
        at.board.clear("one")
        at.board.clear("two")
        await turn_the_loop()
        held.open.set()
        await command
        await turn_the_loop()

        assert at.leading_term.mirror.list(at.leading_term.keys.mutes) == {}


async def test_a_mute_set_again_as_it_was_is_a_new_one():
    """The old one fell and still stands in the store; the new one says the very same."""
    async with commands_with_mute_store() as at:
        for count in (4, 3):
            at.board.set("one", [Check.from_module("X", WARNING | {"count": count})])
        await at.run("health", "mute", "X")
        await turn_the_loop()

        assert at.stored(at.leading_term.keys.mute("X"))
        assert "X" in at.board.mutes
