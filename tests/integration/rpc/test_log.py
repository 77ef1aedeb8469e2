"""The cluster log, followed over gRPC."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import pytest

from mgr.client.messages import LogLine
from mgr.cluster.log import QUEUE_MAX, Priority
from mgr.errors import InvalidArgumentError
from mgr.rpc.v1.manager_pb2 import FollowLogRequest
from mgr.rpc.v1.manager_pb2_grpc import ManagerServiceStub

pytestmark = pytest.mark.slow  # real servers, and waits that are the point


@pytest.fixture
async def manager(three):
    async with grpc.aio.insecure_channel(three["a"].address) as channel:
        yield ManagerServiceStub(channel)


async def test_the_last_lines_a_marker_then_what_comes(manager, three):
    """None is missing and none comes twice."""
    log = three.promote("a", 5).log
    for text in ("one", "two", "three"):
        log.add(text, name="mgr.a")
    stream = manager.FollowLog(FollowLogRequest(past=2))

    first = [await stream.read() for _ in range(3)]
    log.add("four", name="mgr.a")
    fourth = await stream.read()

    assert [message.entry.message for message in first[:2]] == ["two", "three"]
    assert first[2].HasField("caught_up")
    assert (fourth.entry.message, fourth.entry.sequence, fourth.entry.term) == ("four", 4, 5)
    stream.cancel()


async def test_only_what_was_asked_for(manager, three):
    """Lines below the priority and of other channels are left out."""
    log = three.promote("a", 5).log
    log.add("quiet", name="mgr.a")
    log.add("loud", name="mgr.a", priority=Priority.ERROR)
    log.add("elsewhere", name="mgr.a", priority=Priority.ERROR, channel="audit")
    stream = manager.FollowLog(
        FollowLogRequest(past=9, priority="LOG_PRIORITY_WARNING", channel="cluster")
    )

    seen = [await stream.read(), await stream.read()]

    assert seen[0].entry.message == "loud"
    assert seen[1].HasField("caught_up")
    stream.cancel()


async def test_a_slow_reader_learns_how_much_it_missed(manager, three):
    """The manager neither waits for it nor grows."""
    log = three.promote("a", 5).log
    stream = manager.FollowLog(FollowLogRequest())
    assert (await stream.read()).HasField("caught_up")
    count = QUEUE_MAX + 500

    # One turn of the loop, in which no stream can take a line.
    for number in range(count):
        log.add(f"line {number}", name="mgr.a")

    dropped = (await stream.read()).dropped
    assert dropped == 500
    assert (await stream.read()).entry.message == "line 500"
    stream.cancel()


async def test_lines_carry_the_term_of_the_active_that_wrote_them(manager, three):
    """Also before its copy of the store shows that it leads: a follower drops what looks old."""
    log = three.promote("a", 6, among=["b", "c"]).log
    three["a"].view.set(three["b"].leader_view(5))
    log.add("now active", name="mgr.a")
    stream = manager.FollowLog(FollowLogRequest(past=1))

    line = await stream.read()

    assert line.entry.message == "now active"
    assert line.entry.term == 6
    stream.cancel()


async def test_a_standby_names_the_active_instead(manager, three):
    """It has no log to show."""
    three.promote("b", 6)

    stream = manager.FollowLog(FollowLogRequest())

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stream.read()
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert three["b"].address in refused.value.details()


async def test_following_goes_on_with_the_successors_log(client, three):
    """A failover neither ends it nor shows a line twice."""
    log = three.promote("a", 5).log
    log.add("one", name="mgr.a")
    seen = []

    async for line in client.follow_log(past=5):
        assert isinstance(line, LogLine)
        seen.append((line.term, line.sequence, line.message))
        if len(seen) == 1:
            log.add("two", name="mgr.a")
        elif len(seen) == 2:
            # The successor wrote before anybody could have followed it.
            three.promote("b", 6, among=("b", "c")).log.add("three", name="mgr.b")
            await three["a"].server.close(0)
        else:
            break

    assert seen == [(5, 1, "one"), (5, 2, "two"), (6, 1, "three")]


async def test_a_successors_first_lines_are_not_missed_though_none_came_before(client, three):
    """``mgrctl -w`` begins with no line; what the old active had written is not shown later."""
    log = three.promote("a", 5).log
    log.add("old", name="mgr.a")

    async def first_line():
        async with contextlib.aclosing(client.follow_log(past=0)) as lines:
            return await anext(lines)

    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(first_line())
        async with asyncio.timeout(20):
            while not log._readers:  # noqa: ASYNC110 - a log has no event for a new reader
                await asyncio.sleep(0.005)
        three.promote("b", 6, among=("b", "c")).log.add("new", name="mgr.b")
        await three["a"].server.close(0)

    assert (first.result().term, first.result().message) == (6, "new")


async def test_a_broken_connection_is_followed_by_what_was_missed(client, three):
    """The same active again: only the lines that this reader has not seen."""
    active = three.promote("a", 5)
    active.log.add("one", name="mgr.a")
    address = three["a"].address
    seen = []

    async for line in client.follow_log(past=5):
        seen.append(line.message)
        if len(seen) == 2:
            break
        await three["a"].server.close(0)
        active.log.add("two", name="mgr.a")
        await three["a"].start(address)

    assert seen == ["one", "two"]


async def test_an_unknown_priority_is_refused(client):
    """Before anybody is asked."""
    with pytest.raises(InvalidArgumentError, match="'grave' is none of debug, info"):
        async with asyncio.timeout(1):
            await anext(client.follow_log(lowest="grave"))


async def test_following_is_not_deaf_after_a_restore(client, three):
    """The leader's term is lower than the last line's: its log is new, not old."""
    log = three.promote("a", 900).log
    log.add("one", name="mgr.a")
    seen = []

    async for line in client.follow_log(past=5):
        seen.append((line.term, line.message))
        if len(seen) == 1:
            three.promote("b", 30).log.add("two", name="mgr.b")
            three["a"].gate.end("etcd was restored")
        else:
            break

    assert seen == [(900, "one"), (30, "two")]


async def test_a_log_of_an_active_that_others_know_to_be_over_is_left(client, three):
    """It may be frozen, or cut off from etcd and nobody else: its stream stays open."""
    log = three.promote("a", 5).log
    log.add("one", name="mgr.a")
    seen = []

    async for line in client.follow_log(past=5):
        seen.append((line.term, line.message))
        if len(seen) == 1:
            three.promote("b", 6, among=("b", "c")).log.add("two", name="mgr.b")
        else:
            break

    assert seen == [(5, "one"), (6, "two")]
