"""What the server promises to any client, ours or not."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from mgr.access.identity import Caller
from mgr.errors import InvalidSettingError
from mgr.rpc.server import SERVICES
from mgr.rpc.v1.command_pb2 import ExecuteRequest
from mgr.rpc.v1.command_pb2_grpc import CommandServiceStub
from mgr.rpc.v1.manager_pb2 import GetStatusRequest
from mgr.rpc.v1.manager_pb2_grpc import ManagerServiceStub
from tests.integration.rpc.cluster import Ledger, Manager, until

pytestmark = pytest.mark.slow  # real servers, and waits that are the point

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def channel(three):
    async with grpc.aio.insecure_channel(three["a"].address) as channel:
        yield channel


async def test_a_standby_refuses_with_one_hint_that_every_client_can_read(channel, three):
    """UNAVAILABLE, and one ErrorInfo with address, name and term of the active, and the age."""
    three.promote("b", 6)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await CommandServiceStub(channel).Execute(ExecuteRequest(words=["echo"]))

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    status = rpc_status.from_call(_Call(refused.value))
    info = error_details_pb2.ErrorInfo()
    assert len(status.details) == 1
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("NOT_ACTIVE", "mgr.rpc.v1")
    assert dict(info.metadata) == {
        "active_address": three["b"].address,
        "active_name": "b",
        "term": "6",
        "age_s": "0.01",
    }


class _Call:
    """A failed asynchronous call, as grpcio-status expects a synchronous one."""

    def __init__(self, failed):
        self.code, self.details = failed.code, failed.details
        self.trailing_metadata = lambda: tuple(failed.trailing_metadata())


async def test_input_that_is_not_utf8_is_refused(channel, three):
    """With the place of the first wrong byte; nothing ran."""
    active = three.promote("a", 5)

    with pytest.raises(grpc.aio.AioRpcError, match="byte 0xff at 2") as refused:
        await CommandServiceStub(channel).Execute(ExecuteRequest(words=["echo"], input=b"ab\xff"))

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert active.requests == []


@pytest.mark.parametrize("raw", [b"\x0a\x02\xff\xfe", b"\x0a\x7f", b"\xff"])
async def test_a_message_that_cannot_be_read_is_the_senders_mistake(channel, three, raw):
    """Words that are not UTF-8, a cut message, rubbish: INVALID_ARGUMENT, not a Python error."""
    three.promote("a", 5)
    execute = channel.unary_unary("/mgr.rpc.v1.CommandService/Execute")

    with pytest.raises(grpc.aio.AioRpcError, match="unreadable request") as refused:
        await execute(raw)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_of_rubbish_ends_with_a_reason(channel, three):
    """The session cannot know which request was meant."""
    three.promote("a", 5)
    stream = channel.stream_stream("/mgr.rpc.v1.CommandService/Session")()

    await stream.write(b"\xff")

    assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_callers_time_reaches_the_command(channel, three):
    """As a moment on the manager's clock; without one the command has no limit."""
    active = three.promote("a", 5)
    stub = CommandServiceStub(channel)

    await stub.Execute(ExecuteRequest(words=["echo"]), timeout=30)
    await stub.Execute(ExecuteRequest(words=["echo"]))

    timed, untimed = active.requests
    assert timed.deadline_s is not None
    assert untimed.deadline_s is None
    assert timed.caller == Caller.anonymous("127.0.0.1")


async def test_a_caller_that_goes_away_cancels_its_command(channel, three):
    """What has not begun never begins."""
    active = three.promote("a", 5)
    call = CommandServiceStub(channel).Execute(ExecuteRequest(words=["wait", "one"]))
    await until(lambda: active.begun)

    call.cancel()

    await until(lambda: active.cancelled)
    assert active.cancelled == ["one"]


async def test_health_follows_the_gate(channel, three):
    """The process is well at any time; our services are served on the active only."""
    health = health_pb2_grpc.HealthStub(channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICES[0]))

    before = (await watch.read()).status
    three["a"].lead(7)
    after = (await watch.read()).status
    process = (await health.Check(health_pb2.HealthCheckRequest(service=""))).status
    three["a"].server.set_serving(False)

    assert (before, after, process) == (NOT_SERVING, SERVING, SERVING)
    assert (await watch.read()).status == NOT_SERVING
    watch.cancel()


async def test_health_of_a_service_that_is_not_there(channel):
    """As the protocol asks: NOT_FOUND."""
    health = health_pb2_grpc.HealthStub(channel)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await health.Check(health_pb2.HealthCheckRequest(service="no.such.Service"))

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_names_the_services(channel):
    """So grpcurl works without the proto files."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    stream = stub.ServerReflectionInfo()
    await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))

    answer = await stream.read()

    names = {service.name for service in answer.list_services_response.service}
    assert names > set(SERVICES)
    stream.cancel()


async def test_status_says_how_old_the_picture_is(channel, three):
    """A picture that was never current has no age at all."""
    stub = ManagerServiceStub(channel)
    three["a"].view.age = float("inf")
    never = await stub.GetStatus(GetStatusRequest())
    three["a"].view.age = 1.5
    lately = await stub.GetStatus(GetStatusRequest())

    assert not never.HasField("view_age")
    assert lately.view_age.ToMilliseconds() == 1500
    assert (lately.name, lately.phase, lately.incarnation) == ("a", "standby", "a-1")


async def test_a_port_that_is_taken_is_named(three):
    """Two managers never share a port in silence."""
    with pytest.raises(InvalidSettingError, match=three["a"].address):
        await Manager("d", Ledger()).start(three["a"].address)


async def test_what_is_advertised_is_what_clients_are_reported():
    """A port of 0 in the advertised address stands for the one that was bound."""
    manager = await Manager("d", Ledger()).start(grpc_advertise="mgr.example:0")

    host, port = manager.address.split(":")
    await manager.server.close(0)

    assert host == "mgr.example"
    assert int(port) > 0
