"""Under a shut gate nothing is answered as the active: every method, called on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import types

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mgr.cluster.maps import Map, MapRemoved
from mgr.errors import (
    ModuleNotEnabledError,
    NotActiveError,
    TermLostError,
    UnknownCommandError,
)
from mgr.rpc import gated
from mgr.rpc.gated import RULES, Gating, Rule
from mgr.rpc.status import error_of
from mgr.rpc.v1 import (
    certificate_pb2,
    certificate_pb2_grpc,
    cluster_pb2_grpc,
    command_pb2,
    command_pb2_grpc,
    manager_pb2,
    manager_pb2_grpc,
)
from mgr.rpc.v1 import cluster_pb2 as pb
from tests.integration.rpc.cluster import cluster, until

pytestmark = pytest.mark.slow  # real servers, and waits that are the point

HOLD_S = 0.3
TERM = 7
REQUESTS = {
    "DescribeCommands": command_pb2.DescribeCommandsRequest(),
    "Fail": manager_pb2.FailRequest(),
    "ListDaemons": pb.ListDaemonsRequest(),
    "GetCounters": pb.GetCountersRequest(type="rgw"),
    "GetMap": pb.GetMapRequest(name="racks"),
    "ListMaps": pb.ListMapsRequest(),
    "SetMap": pb.SetMapRequest(name="racks", document=b"{}"),
    "RemoveMap": pb.RemoveMapRequest(name="racks"),
    "FollowLog": manager_pb2.FollowLogRequest(),
    "WatchMaps": pb.WatchMapsRequest(),
    "Join": certificate_pb2.JoinRequest(),
    "Renew": certificate_pb2.RenewRequest(),
}
UNARY = sorted(m for m, rule in RULES.items() if rule.gating in {Gating.READ, Gating.CHANGE})
STREAMS = sorted(m for m, rule in RULES.items() if rule.gating in {Gating.STREAM, Gating.SESSION})
STUBS = {
    "CommandService": command_pb2_grpc.CommandServiceStub,
    "ManagerService": manager_pb2_grpc.ManagerServiceStub,
    "ClusterService": cluster_pb2_grpc.ClusterServiceStub,
    "CertificateService": certificate_pb2_grpc.CertificateServiceStub,
}


class Maps:
    """One published map; whoever reads it waits as long as a test wants."""

    def __init__(self):
        self.version = 3
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.reading = asyncio.Event()
        self.changes = asyncio.Queue()
        self.written = []

    def find(self, name):
        return Map(name, self.version, "{}")

    def all(self):
        return [self.find("racks")]

    async def set(self, name, text, expected, *, along):
        self.reading.set()
        await self.may_read.wait()
        self.written.append(name)
        return self.version

    async def remove(self, name, expected, *, along):
        self.written.append(name)

    @contextlib.contextmanager
    def watch(self, prefix):
        yield types.SimpleNamespace(first=self.all, next=self.changes.get)


@pytest.fixture
async def manager():
    """One that leads, and holds what comes under a shut gate for ``HOLD_S``."""
    async with cluster("a", hold_s=HOLD_S) as managers:
        managers.promote("a", TERM)
        managers["a"].role.maps = Maps()
        yield managers["a"]


@pytest.fixture
async def channel(manager):
    async with grpc.aio.insecure_channel(manager.address) as channel:
        yield channel


def call(channel, method):
    """Call ``method`` with a request that an active answers."""
    service, name = method.rpartition("/")[0].rpartition(".")[2], method.rpartition("/")[2]
    stub = getattr(STUBS[service](channel), name)
    return stub(REQUESTS[name]) if name in REQUESTS else stub()


async def opened(channel, method):
    """A stream of ``method`` that the active has taken."""
    stream = call(channel, method)
    if method.endswith("Report"):
        await stream.write(pb.ReportRequest(open=pb.Open(type="rgw", id="a", incarnation="i")))
    elif method.endswith("Session"):
        words = command_pb2.ExecuteRequest(words=["echo", "hello"])
        await stream.write(command_pb2.SessionRequest(id=1, execute=words))
    assert await stream.read() is not grpc.aio.EOF
    if method.endswith("WatchMaps"):
        assert (await stream.read()).HasField("caught_up")
    return stream


async def refusal(call):
    """The error with which a unary call ends."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return error_of(failed.value)


async def end(stream):
    """What a stream still says, and the error with which it ends."""
    said = []
    try:
        while (message := await stream.read()) is not grpc.aio.EOF:
            said.append(message)
    except grpc.aio.AioRpcError as failed:
        return said, error_of(failed)
    status = await stream.code(), grpc.aio.Metadata(), await stream.trailing_metadata()
    return said, error_of(grpc.aio.AioRpcError(*status, await stream.details()))


@pytest.mark.parametrize("method", UNARY)
async def test_a_suspended_active_answers_no_read_and_no_change(manager, channel, method):
    """It waits for its term to be proven again, and then refuses: nothing was done."""
    manager.suspend()

    assert isinstance(await refusal(call(channel, method)), NotActiveError)
    assert manager.role.maps.written == []


@pytest.mark.parametrize("method", UNARY)
async def test_a_deposed_active_names_its_successor_at_once(manager, channel, method):
    """Also to whoever is held at that moment."""
    manager.suspend()
    held = call(channel, method)
    await asyncio.sleep(HOLD_S / 3)
    manager.view.set(manager.leader_view(TERM + 1, "127.0.0.1:2"))
    manager.gate.end("another manager leads")

    for each in (held, call(channel, method)):
        error = await refusal(each)
        assert (type(error), error.active_address) == (NotActiveError, "127.0.0.1:2")


@pytest.mark.parametrize("method", STREAMS)
async def test_a_stream_of_a_deposed_active_ends_with_the_hint(manager, channel, method):
    """Its client finds the new active by it."""
    stream = await opened(channel, method)

    manager.view.set(manager.leader_view(TERM + 1, "127.0.0.1:2"))
    manager.gate.end("another manager leads")

    _, error = await end(stream)
    assert (type(error), error.active_address) == (NotActiveError, "127.0.0.1:2")


@pytest.mark.parametrize("method", STREAMS)
async def test_a_stream_ends_when_the_term_is_not_proven_again(manager, channel, method):
    """After the grace, though nobody says anything: the clock has passed, no more."""
    stream = await opened(channel, method)

    manager.suspend()
    manager.gate.drain()  # whoever looks at the deadline looks again

    said, error = await end(stream)
    assert (said, type(error)) == ([], NotActiveError)


@pytest.mark.parametrize("method", STREAMS)
async def test_a_suspended_active_takes_no_new_stream_after_the_grace(manager, channel, method):
    """Or whose stream has just ended would come back to it."""
    manager.suspend()
    await asyncio.sleep(2 * HOLD_S)

    stream = call(channel, method)

    assert isinstance((await end(stream))[1], NotActiveError)


async def test_what_happens_while_suspended_is_sent_when_the_term_is_proven_again(manager, channel):
    """Not before; an election of etcd ends no stream."""
    stream = await opened(channel, "/mgr.rpc.v1.ClusterService/WatchMaps")
    manager.suspend()

    manager.role.maps.changes.put_nowait(MapRemoved("racks"))
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(stream.read())
        done, _ = await asyncio.wait([waiting], timeout=HOLD_S / 2)
        manager.prove(TERM)

    assert done == set()
    assert waiting.result().removed == "racks"
    stream.cancel()


async def test_a_read_under_way_is_answered_when_the_term_is_proven_again(manager, channel):
    """What it saw was this term's, and still is."""
    manager.suspend()
    reading = call(channel, "/mgr.rpc.v1.ClusterService/GetMap")
    await asyncio.sleep(HOLD_S / 3)
    assert not reading.done()

    manager.prove(TERM)

    assert (await reading).map.version == 3


async def test_a_change_under_way_when_the_gate_shuts_may_have_been_made(manager, channel):
    """So it is never said that nothing ran."""
    maps = manager.role.maps
    maps.may_read.clear()
    setting = call(channel, "/mgr.rpc.v1.ClusterService/SetMap")
    await until(maps.reading.is_set)

    manager.suspend()
    maps.may_read.set()

    assert isinstance(await refusal(setting), TermLostError)
    assert maps.written == ["racks"]


@pytest.mark.parametrize("error", [UnknownCommandError("no"), ModuleNotEnabledError("off")])
async def test_a_command_is_not_refused_by_what_an_old_term_knew(manager, channel, error):
    """A module may have been enabled since, or its code been reloaded, on the successor."""
    manager.role.fails = [error, error]
    stub = command_pb2_grpc.CommandServiceStub(channel)
    words = command_pb2.ExecuteRequest(words=["raise"])
    before = await refusal(stub.Execute(words))

    manager.suspend()

    assert type(before) is type(error)
    assert isinstance(await refusal(stub.Execute(words)), NotActiveError)


async def test_health_asks_the_gate_itself(manager, channel):
    """A worker that was frozen is asked before its own look at the clock."""
    health = health_pb2_grpc.HealthStub(channel)
    asked = health_pb2.HealthCheckRequest(service="mgr.rpc.v1.CommandService")
    before = (await health.Check(asked)).status

    manager.suspend()

    serving = health_pb2.HealthCheckResponse
    assert (before, (await health.Check(asked)).status) == (serving.SERVING, serving.NOT_SERVING)


@contextlib.asynccontextmanager
async def broken(monkeypatch, method):
    """A manager of whose methods one does not ask the gate, and a channel to it."""
    monkeypatch.setattr(gated, "RULES", {**RULES, method: Rule(Gating.OPEN, "broken")})
    async with cluster("a", hold_s=HOLD_S) as managers:
        managers.promote("a", TERM)
        managers["a"].role.maps = Maps()
        async with grpc.aio.insecure_channel(managers["a"].address) as channel:
            yield managers["a"], channel


# A join finds no issuer of certificates in this fake, so it is refused without the gate as well.
@pytest.mark.parametrize("method", [each for each in UNARY if not each.endswith("/Join")])
async def test_a_call_that_does_not_ask_the_gate_is_found(monkeypatch, method):
    """The check taken out of one of them: the test above sees it."""
    async with broken(monkeypatch, method) as (manager, channel):
        with pytest.raises((pytest.fail.Exception, AssertionError)):
            await test_a_suspended_active_answers_no_read_and_no_change(manager, channel, method)


# A session is read in a block of the gate's: without the gate it cannot be served at all.
@pytest.mark.parametrize("method", [each for each in STREAMS if not each.endswith("/Session")])
async def test_a_stream_that_does_not_ask_the_gate_is_found(monkeypatch, method):
    """It would last as long as its client."""
    async with broken(monkeypatch, method) as (manager, channel):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4 * HOLD_S):
                await test_a_stream_of_a_deposed_active_ends_with_the_hint(manager, channel, method)
