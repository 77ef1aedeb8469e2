"""Mutes between board and store, on a running active."""

import asyncio

from mgr.active import mutes
from mgr.active.mutes import MuteKeeper
from mgr.health.board import Board
from mgr.health.check import Check
from mgr.health.mute import Mute, encode
from mgr.module_api.module import MgrModule
from tests.support.office import office
from tests.unit.active.conftest import described

WARNING = {"severity": "warning", "summary": "odd", "count": 1}


class Odd(MgrModule):
    """A module to raise checks with."""


async def raised(cluster, *, count=1):
    """Have the module raise its check, on a thread that is not the loop's."""
    instance = cluster.role._modules.instance_of("odd")
    checks = {"ODD": WARNING | {"count": count}} if count else {}
    await cluster.role._modules.runner_of("odd")._bridge.to_module(
        lambda: instance.set_health_checks(checks)
    )


async def test_a_stored_mute_holds_on_every_active(active):
    """It was written in an earlier term and is loaded by the next."""
    async with active(described("odd", Odd), enabled=["odd"]) as cluster:
        await raised(cluster)
        await cluster.put(cluster.keys.mute("ODD"), encode(Mute(summary="odd", count=1)))

        assert (await cluster.health())["ODD"]["muted"] is True


async def test_a_mute_that_falls_is_removed_from_the_store(active):
    """Or it would come back with the next active."""
    async with active(described("odd", Odd), enabled=["odd"]) as cluster:
        await raised(cluster)
        await cluster.put(cluster.keys.mute("ODD"), encode(Mute(summary="odd", count=1)))

        await raised(cluster, count=0)

        await cluster.until(lambda: cluster.mirror.get(cluster.keys.mute("ODD")) is None)


async def test_a_mute_that_goes_down_with_its_count_keeps_its_lease(active):
    """A limit in time is the store's to keep, whoever rewrites the record."""
    async with active(described("odd", Odd), enabled=["odd"]) as cluster:
        lease = (await cluster.store.grant(60)).lease
        key = cluster.keys.mute("ODD")
        await raised(cluster, count=5)
        await cluster.role._fenced.put(key, encode(Mute(summary="odd", count=5)), lease)

        await raised(cluster, count=2)

        await cluster.until(lambda: '"count":2' in cluster.mirror.get(key).value)
        assert cluster.mirror.get(key).lease == lease


async def test_any_number_of_mutes_may_fall_at_once(monkeypatch):
    """One transaction holds only so much; what it cannot hold must not end the worker."""
    monkeypatch.setattr(mutes, "WRITTEN_MAX", 2)
    async with office() as term:
        board = Board()
        board.set("one", [Check.from_module(f"ODD_{n}", WARNING) for n in range(5)])
        for n in range(5):
            await term.fenced.put(term.keys.mute(f"ODD_{n}"), encode(Mute(summary="odd", count=1)))
        keeper = MuteKeeper(board, term.mirror, term.keys, term.fenced)
        keeper.follow()
        term.tasks.create_task(keeper.run())

        board.set("one", [])

        async with asyncio.timeout(5):
            while term.mirror.under(term.keys.mutes):  # noqa: ASYNC110 - the store is asked
                await asyncio.sleep(0)
