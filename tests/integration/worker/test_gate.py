"""The gate of a real worker: shut before the key goes, by a newer term, and seen from outside."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from mgr.errors import NotActiveError
from mgr.link import Drain, Drained, LeadershipReleased
from mgr.rpc.status import error_of
from mgr.rpc.v1.cluster_pb2 import GetMapRequest, WatchMapsRequest
from mgr.rpc.v1.cluster_pb2_grpc import ClusterServiceStub
from mgr.rpc.v1.manager_pb2 import GetStatusRequest, WatchActiveRequest
from mgr.rpc.v1.manager_pb2_grpc import ManagerServiceStub


@pytest.fixture
async def pair(workers):
    """One that leads, and its heir."""
    worker, heir = await workers(), await workers(id="b")
    await worker.ready()
    await heir.ready()
    await worker.lead()
    return worker, heir


async def refused(call):
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return error_of(failed.value)


async def test_nothing_is_read_of_a_worker_that_is_drained(pair):
    """From then on its key may be gone, and a successor's write be acknowledged."""
    worker, heir = pair
    async with grpc.aio.insecure_channel(worker.opened.grpc_address) as channel:
        stub = ClusterServiceStub(channel)
        assert (await stub.GetMap(GetMapRequest(name="mgr_map"))).map.name == "mgr_map"
        worker.send(Drain(term=worker.term, budget_s=1.0))
        await worker.receive(Drained)

        async with asyncio.TaskGroup() as tasks:
            held = tasks.create_task(refused(stub.GetMap(GetMapRequest(name="mgr_map"))))
            await worker.release()
            await heir.lead()
            worker.send(LeadershipReleased(term=worker.term))

    assert isinstance(held.result(), NotActiveError)


async def test_a_newer_term_that_the_worker_sees_itself_ends_its_streams(pair):
    """Its guard may be silent, and its deadline far away: the mirror shows who leads."""
    worker, heir = pair
    async with grpc.aio.insecure_channel(worker.opened.grpc_address) as channel:
        stream = ClusterServiceStub(channel).WatchMaps(WatchMapsRequest())
        assert (await stream.read()).HasField("caught_up")

        await worker.release()
        await heir.lead()

        error = await refused(stream.read())

    assert isinstance(error, NotActiveError)
    assert (error.active_address, error.active_name) == (heir.opened.grpc_address, "b")
    assert heir.term > worker.term


async def test_a_suspended_worker_does_not_name_itself(workers):
    """To clients that ask around; its status still says how it stands."""
    worker = await workers()
    await worker.ready()
    await worker.lead(span_s=1.0)
    async with grpc.aio.insecure_channel(worker.opened.grpc_address) as channel:
        stub = ManagerServiceStub(channel)
        stream = stub.WatchActive(WatchActiveRequest())
        first, then = await stream.read(), await stream.read()
        status = await stub.GetStatus(GetStatusRequest())
        stream.cancel()

    assert first.active.name == "a"
    assert not then.HasField("active")
    assert status.phase == "suspended"
    assert not status.HasField("active")
