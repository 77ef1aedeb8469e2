"""Answers that nobody reads: their memory is limited, and others are answered all the same."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from mgr.access.identity import Caller
from mgr.client_limits import ClientLimits
from mgr.clock import CLOCK
from mgr.command.answer import Answer
from mgr.errors import OutcomeUnknownError, OverloadedError
from mgr.rpc import unread
from mgr.rpc.unread import UnreadAnswers
from mgr.rpc.v1 import cluster_pb2, command_pb2, manager_pb2
from mgr.rpc.v1.cluster_pb2_grpc import ClusterServiceStub
from mgr.rpc.v1.command_pb2_grpc import CommandServiceStub
from mgr.rpc.v1.manager_pb2_grpc import ManagerServiceStub
from tests.integration.rpc.cluster import cluster, until
from tests.integration.rpc.test_revocation import WatchedMaps

KIB = 1 << 10
OWN = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    # A client that takes little in advance.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 16 * KIB),
]
EXECUTE = "/mgr.rpc.v1.CommandService/Execute"
OPS, ADA = Caller("ops"), Caller("ada")


@pytest.fixture
def small(monkeypatch):
    """Limits that a test can reach."""
    monkeypatch.setattr(unread, "CALLER_BYTES_MAX", 1000 * KIB)
    monkeypatch.setattr(unread, "ROOM_S", 0.3)


def lazily(channel, method, request):
    """Call ``method`` and do not take the answer: HTTP/2 lets a client do so for ever.

    A client whose connection stalls as a whole is disconnected: it answers no pings.
    """
    return channel.unary_stream(method, request_serializer=type(request).SerializeToString)(request)


async def bytes_read(call):
    """Take the answer after all; its size, or the status of the call."""
    try:
        return len(await call.read())
    except grpc.aio.AioRpcError as error:
        return error.code()


async def test_calls_of_a_client_that_does_not_read_are_refused(small):
    """Once a megabyte waits for it; after it has read, it is answered again."""
    async with cluster("a") as one:
        active = one.promote("a", 5)
        active.said = Answer(0, "x" * 300 * KIB)
        async with grpc.aio.insecure_channel(one["a"].address, options=OWN) as channel:
            request = command_pb2.ExecuteRequest(words=["big"])
            calls = [lazily(channel, EXECUTE, request) for _ in range(12)]
            await until(lambda: len(active.requests) >= 4)
            await asyncio.sleep(1)
            asked = len(active.requests)
            found = [await bytes_read(each) for each in calls]
            again = await CommandServiceStub(channel).Execute(request, timeout=30)

    assert asked < 8
    assert found.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 12 - asked
    assert len(again.stdout) == 300 * KIB


async def test_a_session_that_does_not_read_is_refused(small):
    """What it asked for is in memory; it is answered again after it has read."""
    async with cluster("a") as one:
        active = one.promote("a", 5)
        active.said = Answer(0, "x" * 300 * KIB)
        async with grpc.aio.insecure_channel(one["a"].address, options=OWN) as channel:
            session = CommandServiceStub(channel).Session()
            for number in range(20):
                echo = command_pb2.ExecuteRequest(words=["big"])
                await session.write(command_pb2.SessionRequest(id=number, execute=echo))
            await until(lambda: len(active.requests) >= 4)
            await asyncio.sleep(1.5)
            answers = [await session.read() for _ in range(20)]
            await session.write(command_pb2.SessionRequest(id=99, execute=echo))
            last = await session.read()

    refused = [each for each in answers if each.HasField("error")]
    assert {each.error.code for each in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]}
    assert len(answers) - len(refused) < 12
    assert last.HasField("response")


async def test_a_watch_that_does_not_read_ends(small, monkeypatch):
    """Its next message finds no room. Those who read theirs notice nothing."""
    monkeypatch.setattr(unread, "CALLER_BYTES_MAX", 1)
    async with cluster("a") as one:
        active = one.promote("a", 5)
        active.maps = WatchedMaps()
        async with grpc.aio.insecure_channel(one["a"].address, options=OWN) as channel:
            maps = ClusterServiceStub(channel)
            lazy = [maps.WatchMaps(cluster_pb2.WatchMapsRequest()) for _ in range(2)]
            for stream in lazy:
                await stream.read()
            for _ in range(3):
                active.maps.put("x" * 500 * KIB)
            await until(lambda: len(active.maps.watchers) < 2)
            for stream in lazy:
                stream.cancel()
            await until(lambda: not active.maps.watchers)

            log = ManagerServiceStub(channel).FollowLog(manager_pb2.FollowLogRequest())
            await log.read()
            active.log.add("a line", name="x")
            assert "a line" in str(await log.read())


class Calls:
    """Calls that end when the test says so; each is served by a task of its own, as gRPC does."""

    def __init__(self, answers, tasks):
        self.answers, self.tasks = answers, tasks
        self.over = asyncio.Event()

    async def answer(self, size):
        """Answer a call of OPS; it goes on until ``over`` is set."""
        answered = asyncio.get_running_loop().create_future()

        async def serve():
            try:
                answered.set_result(self.answers.until_sent(OPS, size))
            except OutcomeUnknownError as error:
                answered.set_exception(error)
            await self.over.wait()

        self.tasks.create_task(serve())
        await answered


async def test_what_is_unread_is_counted_by_caller_and_in_total(small, monkeypatch):
    """Somebody else still has room; when all have none, nobody has."""
    limits = ClientLimits(CLOCK.now)
    answers = UnreadAnswers(limits)
    async with asyncio.TaskGroup() as tasks:
        calls = Calls(answers, tasks)
        await calls.answer(1000 * KIB)
        with pytest.raises(OverloadedError, match="are not read"):
            await answers.wait_room(OPS)
        await answers.wait_room(ADA)
        await calls.answer(1000 * KIB)
        with pytest.raises(OutcomeUnknownError, match="it ran"):
            await calls.answer(1)
        waiting = tasks.create_task(answers.wait_room(OPS))
        await asyncio.sleep(0)
        assert not waiting.done()
        calls.over.set()
    assert answers.total_bytes == 0

    monkeypatch.setattr(unread, "TOTAL_BYTES_MAX", 1)
    async with asyncio.TaskGroup() as tasks:
        calls = Calls(answers, tasks)
        await calls.answer(1)
        with pytest.raises(OverloadedError):
            await answers.wait_room(ADA)
        calls.over.set()
    assert set(limits.recent()) == {"unread", "unread_total"}
