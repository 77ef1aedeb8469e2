"""Calls that are over leave nothing to the garbage collector, however they end."""

from __future__ import annotations

import asyncio
import gc

import grpc
import pytest

from mgr.errors import NotFoundError
from mgr.rpc.v1 import cluster_pb2, command_pb2, manager_pb2
from mgr.rpc.v1.cluster_pb2_grpc import ClusterServiceStub
from mgr.rpc.v1.command_pb2_grpc import CommandServiceStub
from mgr.rpc.v1.manager_pb2_grpc import ManagerServiceStub
from tests.integration.rpc.cluster import cluster, until

CALLS = 20
OTHERS_MAX = 2
"""Calls that may not be over, as of the client that was the last."""


@pytest.fixture
def uncollected():
    """The number of gRPC's objects of calls on the server, none of which a collector takes away."""

    def count():
        return sum(type(each).__name__ == "_ServicerContext" for each in gc.get_objects())

    gc.collect()
    gc.disable()
    before = count()
    yield lambda: count() - before
    gc.enable()


async def answered(channel):
    """A unary call, and what its answer was counted for."""
    execute = command_pb2.ExecuteRequest(words=["echo", "x"])
    assert (await CommandServiceStub(channel).Execute(execute)).stdout == b"x"


async def refused(channel):
    """A unary call that ends with a status."""
    fail = manager_pb2.FailRequest(name="a")
    with pytest.raises(grpc.aio.AioRpcError):
        await ManagerServiceStub(channel).Fail(fail)


async def cancelled(channel):
    """A session that its client cancels after a command that was refused."""
    session = CommandServiceStub(channel).Session()
    execute = command_pb2.ExecuteRequest(words=["raise"])
    await session.write(command_pb2.SessionRequest(id=1, execute=execute))
    assert (await session.read()).HasField("error")
    session.cancel()


async def watched(channel):
    """A stream of the manager's, which its client cancels."""
    stream = ManagerServiceStub(channel).WatchActive(manager_pb2.WatchActiveRequest())
    await stream.read()
    stream.cancel()


async def reported(channel):
    """The stream of a daemon that goes away."""
    stream = ClusterServiceStub(channel).Report()
    opening = cluster_pb2.Open(type="osd", id="0", host="h", incarnation="1")
    await stream.write(cluster_pb2.ReportRequest(open=opening))
    await stream.read()
    stream.cancel()


def raised_from_a_variable():
    """Raise as many functions do: the frame has the error, and the error the frame."""
    error = NotFoundError("it is not there")
    raise error


@pytest.mark.parametrize("call", [answered, refused, cancelled, watched, reported])
async def test_a_call_that_is_over_leaves_no_garbage(uncollected, call):
    """A cycle stays until the collector comes, and a client can make thousands a second."""
    async with cluster("a") as one:
        active = one.promote("a", 5)

        async def refuse(*_args):
            raised_from_a_variable()

        active.fail = refuse
        async with grpc.aio.insecure_channel(one["a"].address) as channel:
            for _ in range(CALLS):
                active.fails = [NotFoundError("it is not there")]
                await call(channel)
            async with asyncio.timeout(10):
                await until(lambda: uncollected() <= OTHERS_MAX)
