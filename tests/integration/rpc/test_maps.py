"""Maps over gRPC: published, read, watched."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import grpc
import pytest

from mgr.client.blocking import Client
from mgr.client.maps import Map, MapRemoved
from mgr.clock import CLOCK
from mgr.cluster.maps import Maps
from mgr.errors import ConflictError, InvalidArgumentError, NotActiveError, NotFoundError
from mgr.rpc.status import error_of
from mgr.rpc.v1.cluster_pb2 import (
    GetMapRequest,
    ListMapsRequest,
    RemoveMapRequest,
    SetMapRequest,
    WatchMapsRequest,
)
from mgr.rpc.v1.cluster_pb2_grpc import ClusterServiceStub
from mgr.store.api import Put
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from mgr.store.mirror import Mirror

pytestmark = pytest.mark.slow  # real servers


class BuiltinDocuments:
    """The manager's documents: one."""

    def get(self, name):
        return {"epoch": 3} if name == "mgr_map" else None

    def reserved(self, name):
        return name == "mgr_map"


@contextlib.asynccontextmanager
async def leading(three, name="a", store=None, among=None):
    """Let one of ``three`` lead with real maps; a stub of its service and those maps."""
    store, keys = store or MemoryStore(CLOCK), Keys("test")
    mirror = Mirror(store, keys.root, CLOCK)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(mirror.run())
        lease = (await store.grant(60)).lease
        term = await store.create(keys.leader, name, lease=lease)
        await mirror.wait_for_revision(term, 5)
        role = three.promote(name, term, among=among)
        role.maps = Maps(
            mirror, keys, FencedStore(store, keys, term, mirror=mirror), BuiltinDocuments()
        )
        async with grpc.aio.insecure_channel(three[name].address) as channel:
            yield ClusterServiceStub(channel), role.maps
        await store.revoke(lease)
        following.cancel()


async def refused(call):
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return error_of(failed.value)


async def test_a_map_is_published_read_listed_and_withdrawn(three):
    """Byte for byte what was published."""
    async with leading(three) as (stub, _):
        made = await stub.SetMap(SetMapRequest(name="racks", document=b'{"a":  1}'))
        got = (await stub.GetMap(GetMapRequest(name="racks"))).map
        [listed] = (await stub.ListMaps(ListMapsRequest())).maps
        own = (await stub.GetMap(GetMapRequest(name="mgr_map"))).map
        await stub.RemoveMap(RemoveMapRequest(name="racks"))
        await stub.RemoveMap(RemoveMapRequest(name="racks"))
        gone = await refused(stub.GetMap(GetMapRequest(name="racks")))

    assert (got.name, got.version, got.document) == ("racks", made.version, b'{"a":  1}')
    assert (listed.name, listed.version, listed.document) == ("racks", made.version, b"")
    assert (own.version, own.document) == (0, b'{"epoch": 3}')
    assert isinstance(gone, NotFoundError)


async def test_a_refusal_says_what_it_is_by_its_class(three):
    """Another version than expected, no JSON, no UTF-8; 0 is a version that can be expected."""
    async with leading(three) as (stub, _):
        await stub.SetMap(SetMapRequest(name="racks", document=b"{}", expected_version=0))
        again = SetMapRequest(name="racks", document=b"{ }", expected_version=0)
        found = [
            await refused(stub.SetMap(again)),
            await refused(stub.SetMap(SetMapRequest(name="racks", document=b"[]"))),
            await refused(stub.SetMap(SetMapRequest(name="racks", document=b"\xff"))),
            await refused(stub.RemoveMap(RemoveMapRequest(name="racks", expected_version=0))),
        ]

    assert [type(error) for error in found] == [
        ConflictError,
        InvalidArgumentError,
        InvalidArgumentError,
        ConflictError,
    ]


async def test_a_watch_sends_what_is_there_a_marker_and_what_comes(three):
    """Late readers begin with the last version of each."""
    async with leading(three) as (stub, maps):
        await maps.set("racks", '{"a": 1}')
        stream = stub.WatchMaps(WatchMapsRequest(prefix="ra"))
        first = [await stream.read(), await stream.read()]
        version = await maps.set("racks", '{"a": 2}')
        await maps.set("other", "{}")
        second = await stream.read()
        await maps.remove("racks")
        third = await stream.read()
        stream.cancel()

    assert first[0].map.document == b'{"a": 1}'
    assert first[1].HasField("caught_up")
    assert (second.map.version, second.map.document) == (version, b'{"a": 2}')
    assert third.removed == "racks"


async def test_a_reader_that_stops_reading_misses_versions_but_not_the_last(three):
    """What it is not sent is not kept for it: a megabyte a version would add up."""
    versions = 60
    async with leading(three) as (stub, maps):
        stream = stub.WatchMaps(WatchMapsRequest())
        assert (await stream.read()).HasField("caught_up")
        for number in range(versions):
            version = await maps.set("racks", f'{{"n": {number}, "x": "{"x" * 300_000}"}}')

        seen = []
        while not seen or seen[-1] != version:
            message = await stream.read()
            seen.append(message.map.version)
        stream.cancel()

    assert seen == sorted(seen)
    assert len(seen) < versions


async def test_a_standby_names_the_active_instead(three):
    """Its copy may be older than it knows."""
    async with leading(three, "b"), grpc.aio.insecure_channel(three["a"].address) as channel:
        stub = ClusterServiceStub(channel)
        errors = [
            await refused(stub.GetMap(GetMapRequest(name="racks"))),
            await refused(stub.SetMap(SetMapRequest(name="racks", document=b"{}"))),
            await refused(stub.WatchMaps(WatchMapsRequest()).read()),
        ]

    assert {type(error) for error in errors} == {NotActiveError}
    assert {error.active_address for error in errors} == {three["b"].address}


async def test_the_client_publishes_reads_and_withdraws(three, client):
    """Documents go in and come out as dictionaries."""
    async with leading(three):
        version = await client.maps.set("racks", {"a": ["ä"]}, expected_version=0)
        got = await client.maps.get("racks")
        listed = await client.maps.versions()
        with pytest.raises(ConflictError):
            await client.maps.set("racks", {}, expected_version=0)
        await client.maps.remove("racks", expected_version=version)

        assert got == Map("racks", version, {"a": ["ä"]})
        assert listed == {"racks": version}
        assert await client.maps.get("racks") is None
        assert (await client.maps.get("mgr_map")).version == 0


async def test_a_watching_client_goes_on_with_the_successor(three, client):
    """What happened meanwhile is made up for; nothing comes twice."""
    store, seen = MemoryStore(CLOCK), []
    watching = contextlib.aclosing(client.maps.watch("ra"))
    async with watching as changes:
        async with leading(three, "a", store) as (_, maps):
            await maps.set("racks", '{"a": 1}')
            await maps.set("rails", "{}")
            await maps.set("ramps", "{}")
            seen += [await anext(changes), await anext(changes), await anext(changes)]
        await three["a"].server.close(0)
        async with leading(three, "b", store) as (_, maps):
            await maps.remove("rails")
            await maps.set("racks", '{"a": 2}')
            after = [await anext(changes), await anext(changes)]
            await maps.set("rafts", "{}")
            after.append(await anext(changes))

    assert [each.name for each in seen] == ["racks", "rails", "ramps"]
    assert sorted(each.name for each in after) == ["racks", "rafts", "rails"]
    assert MapRemoved("rails") in after
    assert {"a": 2} in [each.document for each in after if isinstance(each, Map)]


async def test_a_watching_client_leaves_an_active_that_others_know_to_be_over(three, client):
    """Frozen or cut off it ends no stream, and its heartbeats look like those of an active."""
    store, other = MemoryStore(CLOCK), MemoryStore(CLOCK)
    async with (
        leading(three, "a", store) as (_, maps),
        contextlib.aclosing(client.maps.watch()) as changes,
    ):
        await maps.set("racks", '{"v": 1}')
        first = await anext(changes)
        for number in range(9):  # the successor's term and version are higher
            await other.commit([Put("elsewhere", str(number))])
        async with leading(three, "b", other, among=("b", "c")) as (_, newer):
            await newer.set("racks", '{"v": 2}')
            second = await anext(changes)

    assert [each.document for each in (first, second)] == [{"v": 1}, {"v": 2}]


async def test_a_watching_client_is_not_deaf_after_a_restore(three, client):
    """Term and versions are lower than those it has seen, and one version is given twice."""
    store = MemoryStore(CLOCK)
    async with contextlib.aclosing(client.maps.watch()) as changes:
        async with leading(three, "a", store) as (_, maps):
            await maps.set("rails", "{}")
            version = await maps.set("racks", '{"v": 1}')
            first = [await anext(changes), await anext(changes)]
        restored = MemoryStore(CLOCK)
        three["a"].view.set(None)
        three["a"].gate.end("etcd was restored")
        async with leading(three, "b", restored) as (_, maps):
            drafts = itertools.count(2)
            while (now := await maps.set("racks", f'{{"v": {next(drafts)}}}')) < version:
                pass
            last = Map("racks", version, {"v": next(drafts) - 1})
            after = [await anext(changes)]
            while last not in after or MapRemoved("rails") not in after:
                after.append(await anext(changes))

    assert {each.name for each in first} == {"rails", "racks"}
    assert now == version


async def test_a_program_without_a_loop_has_the_same_calls(three):
    """From a thread."""

    def work(hosts):
        with Client(hosts, timeout_s=5) as client:
            version = client.maps.set("racks", {"a": 1})
            with contextlib.closing(client.maps.watch()) as changes:
                first = next(changes)
            listed = client.maps.versions()
            client.maps.remove("racks")
            return version, first, listed, client.maps.get("racks")

    async with leading(three):
        version, first, listed, after = await asyncio.to_thread(work, three.hosts)

    assert first == Map("racks", version, {"a": 1})
    assert (listed, after) == ({"racks": version}, None)
