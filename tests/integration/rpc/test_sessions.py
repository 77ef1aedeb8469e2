"""Many commands over one stream."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from mgr.client.async_client import AsyncClient
from mgr.errors import DeadlineExceededError, NotFoundError
from mgr.rpc.v1.command_pb2 import Cancel, ExecuteRequest, SessionRequest
from mgr.rpc.v1.command_pb2_grpc import CommandServiceStub
from tests.integration.rpc.cluster import until

pytestmark = pytest.mark.slow  # real servers, and waits that are the point


def wait_for(name, number):
    return SessionRequest(id=number, execute=ExecuteRequest(words=["wait", name]))


def echo(text, number):
    return SessionRequest(id=number, execute=ExecuteRequest(words=["echo", text]))


@pytest.fixture
async def stream(three):
    three.promote("a", 5)
    async with grpc.aio.insecure_channel(three["a"].address) as channel:
        call = CommandServiceStub(channel).Session()
        yield call
        call.cancel()


async def test_a_slow_command_delays_no_other(stream, three):
    """Answers come as they are ready, each under the number of its request."""
    await stream.write(wait_for("slow", 1))
    await stream.write(echo("fast", 2))

    answer = await stream.read()

    assert (answer.id, answer.response.stdout) == (2, b"fast")
    assert three["a"].role.begun == ["slow"]


async def test_a_cancelled_command_is_cancelled_alone(stream, three):
    """The others of the stream go on."""
    active = three["a"].role
    await stream.write(wait_for("one", 1))
    await stream.write(wait_for("two", 2))
    await until(lambda: len(active.begun) == 2)

    await stream.write(SessionRequest(id=1, cancel=Cancel()))

    await until(lambda: active.cancelled == ["one"])
    await stream.write(echo("still here", 3))
    assert (await stream.read()).id == 3


async def test_a_client_that_goes_away_leaves_nothing_behind(stream, three):
    """Every command of its stream is cancelled; what had not begun never does."""
    active = three["a"].role
    await stream.write(wait_for("one", 1))
    await until(lambda: active.begun)

    stream.cancel()

    await until(lambda: active.cancelled == ["one"])


async def test_a_client_that_says_no_more_still_gets_its_answers(stream):
    """Half-closing is a way to end, not to run away."""
    await stream.write(echo("x", 1))
    await stream.done_writing()

    assert (await stream.read()).response.stdout == b"x"
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_late_command_is_not_begun(stream, three):
    """Its caller's time had run out on arrival."""
    message = echo("late", 1)
    message.timeout.FromNanoseconds(0)

    await stream.write(message)

    assert (await stream.read()).error.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    assert three["a"].role.requests == []


async def test_a_number_still_open_is_refused(stream):
    """Two answers under one number could not be told apart."""
    await stream.write(wait_for("one", 1))
    await stream.write(echo("x", 1))

    answer = await stream.read()

    assert (answer.id, answer.error.message) == (1, "request 1 is still open")


async def test_a_stream_has_a_bounded_number_of_open_commands(stream, three, monkeypatch):
    """One more is refused and not begun: a client cannot fill the manager's memory."""
    monkeypatch.setattr("mgr.rpc.calls.IN_FLIGHT_MAX", 5)
    for number in range(6):
        await stream.write(wait_for(str(number), number))

    answer = await stream.read()

    assert answer.id == 5
    assert answer.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert len(three["a"].role.begun) == 5


async def test_a_session_carries_many_commands_at_once(client, three):
    """Each caller gets its own answer."""
    three.promote("a", 5)

    async with client.session() as session, asyncio.TaskGroup() as tasks:
        asked = {
            text: tasks.create_task(session.execute(["echo", text])) for text in map(str, range(40))
        }

    assert all(task.result().text == text for text, task in asked.items())


async def test_a_session_moves_to_the_successor(client, three):
    """Commands without an answer are asked there under the same ids, and applied once."""
    active = three.promote("a", 5)

    async with client.session() as session:
        assert (await session.execute(["count"])).term == 5
        active.hold.clear()
        async with asyncio.TaskGroup() as tasks:
            counting = [tasks.create_task(session.execute(["count"])) for _ in range(5)]
            await until(lambda: len(active.requests) == 6)
            await three["a"].server.close(0)
            three.promote("b", 6, among=("b", "c"))

    assert sorted(int(each.result().text) for each in counting) == [2, 3, 4, 5, 6]
    assert {each.request_id for each in active.requests[1:]} == {
        each.request_id for each in three["b"].role.requests
    }


async def test_a_session_leaves_a_frozen_active(client, three):
    """The other managers say who leads, while the old one says nothing."""
    frozen = three.promote("a", 5)

    async with client.session() as session:
        await session.execute(["echo"])
        frozen.hold.clear()
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(session.execute(["echo", "x"]))
            await until(lambda: len(frozen.requests) == 2)
            three.promote("b", 6, among=("b", "c"))

    assert asking.result().stderr == "b"


async def test_a_session_follows_a_hint(client, three):
    """A manager that became a standby refuses, and the session goes where it points."""
    three.promote("a", 5)

    async with client.session() as session:
        await session.execute(["echo"])
        three.promote("c", 6)
        assert (await session.execute(["echo"])).stderr == "c"


async def test_a_command_of_a_session_has_its_own_deadline(client, three):
    """Its time runs out alone; the manager gets a cancel: nobody waits any more."""
    active = three.promote("a", 5)

    async with client.session() as session:
        with pytest.raises(DeadlineExceededError, match="unknown"):
            await session.execute(["wait", "long"], timeout_s=0.2)
        assert (await session.execute(["echo", "x"])).text == "x"

    assert active.cancelled == ["long"]


async def test_a_refusal_reaches_its_caller_only(client, three):
    """An error of one command does not end the stream."""
    active = three.promote("a", 5)
    active.fails = [NotFoundError("there is no hut")]

    async with client.session() as session:
        with pytest.raises(NotFoundError, match="there is no hut"):
            await session.execute(["raise"])
        assert (await session.execute(["echo", "x"])).text == "x"


async def test_a_session_waits_for_an_active(client, three):
    """A command given while nobody leads runs as soon as somebody does."""
    async with client.session() as session, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(session.execute(["echo", "x"]))
        await asyncio.sleep(0.05)
        three.promote("b", 3)

    assert asking.result().text == "x"


async def test_closing_ends_streams_with_the_way_to_the_successor(stream, three):
    """A stream that waits for log lines is ended when its manager shuts down."""
    await stream.write(echo("x", 1))
    await stream.read()
    three["a"].view.set(three["b"].leader_view(6))

    await three["a"].server.close(1)

    assert await stream.code() is grpc.StatusCode.UNAVAILABLE
    assert three["b"].address in await stream.details()


async def test_a_client_of_one_loop_is_reusable_after_a_session(three):
    """The session is over, the client is not."""
    three.promote("a", 5)

    async with AsyncClient(three.hosts) as client:
        async with client.session() as session:
            await session.execute(["echo"])
        assert (await client.execute(["echo", "x"])).text == "x"


async def test_a_session_finds_an_active_of_a_lower_term(client, three):
    """Etcd was restored: whom it knew of the higher term leads no more, and says so."""
    three.promote("a", 900)
    async with client.session() as session:
        first = await session.execute(["echo", "one"])
        three.promote("b", 30)
        three["a"].gate.end("etcd was restored")
        second = await session.execute(["echo", "two"])

    assert [(each.text, each.term) for each in (first, second)] == [("one", 900), ("two", 30)]


async def test_a_call_finds_an_active_of_a_lower_term(client, three):
    """Likewise."""
    three.promote("a", 900)
    first = await client.execute(["echo", "one"])
    three.promote("b", 30)
    three["a"].gate.end("etcd was restored")

    second = await client.execute(["echo", "two"])

    assert [(each.text, each.term) for each in (first, second)] == [("one", 900), ("two", 30)]
