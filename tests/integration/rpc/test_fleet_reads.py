"""What clients read of a large fleet: in pages, and while the manager does everything else."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import grpc
import pytest

from mgr.cluster.counters import Counter, Kind
from mgr.cluster.daemon import OpenRequest
from mgr.cluster.daemon_record import DaemonRecord
from mgr.rpc.cluster import AT_ONCE, PAGE_BYTES_MAX, ClusterServicer
from mgr.rpc.fleet_codec import READ_AT_ONCE, counters_in
from mgr.rpc.v1 import cluster_pb2 as pb
from tests.support.fleet_declare import declare

MANY = 10_000


class FakeStream:
    """A stream of which nothing is asked."""


def counting(fleet, ident, counters, *, reports):
    """A daemon that has reported all of ``counters``."""
    line = FakeStream()
    daemon = fleet.open(OpenRequest(kind="rgw", id=ident, host="h", incarnation="1"), line)
    declare(fleet, daemon, line, ident.encode(), counters)
    for number in range(reports):
        fleet.report(daemon, line, [float(number)] * daemon.ring.schema.width)
    return daemon


async def pages(call, request):
    """Every answer, from the first to the last."""
    found = []
    while True:
        found.append(await call(request))
        if not found[-1].next_page_token:
            return found
        request.page_token = found[-1].next_page_token


async def turns_while(work):
    """How often the loop turned while ``work`` went on."""
    turns = 0
    async with asyncio.TaskGroup() as tasks:
        done = tasks.create_task(work)
        while not done.done():
            turns += 1
            await asyncio.sleep(0)
    return turns, done.result()


async def test_a_large_fleet_is_listed_to_a_stock_client(fleet, stub):
    """In pages that it takes: nobody twice, nobody left out, in the order of names."""
    metadata = {"kernel": "x" * 600}
    member = DaemonRecord(
        host="h1", version="1", metadata=metadata, since="2026-01-01T00:00:00+00:00"
    )
    names = sorted(f"host.n{number}" for number in range(MANY))
    fleet.expect(dict.fromkeys(names, member))

    found = await pages(stub.ListDaemons, pb.ListDaemonsRequest())

    assert len(found) > 1
    assert max(page.ByteSize() for page in found) <= PAGE_BYTES_MAX
    assert [f"host.{daemon.id}" for page in found for daemon in page.daemons] == names


async def test_a_page_is_as_small_as_is_wished(fleet, stub):
    """The type and the host that were asked for count, not what is passed over."""
    for ident in "abcde":
        counting(fleet, ident, [Counter(group="g", name="n")], reports=0)
    fleet.open(OpenRequest(kind="osd", id="1", host="h", incarnation="1"), FakeStream())

    found = await pages(stub.ListDaemons, pb.ListDaemonsRequest(type="rgw", page_size=2))

    assert [[d.id for d in page.daemons] for page in found] == [["a", "b"], ["c", "d"], ["e"]]


async def test_every_point_of_a_large_fleet_is_read_in_pages(fleet, stub):
    """A page may begin in the middle of a daemon; nothing is there twice."""
    counters = [Counter(group="g", name=f"n{number}") for number in range(3000)]
    for ident in "ab":
        counting(fleet, ident, counters, reports=20)

    found = await pages(stub.GetCounters, pb.GetCountersRequest(type="rgw"))
    latest = await pages(stub.GetCounters, pb.GetCountersRequest(type="rgw", latest=True))
    one = await pages(stub.GetCounters, pb.GetCountersRequest(type="rgw", path="g.n7", page_size=1))

    expected = [(ident, each.name) for ident in "ab" for each in counters]
    for read in (found, latest):
        series = [series for page in read for series in page.series]
        assert [(each.id, each.counter.name) for each in series] == expected
        assert max(page.ByteSize() for page in read) <= PAGE_BYTES_MAX
    assert len(found) > 1
    assert {len(each.points) for page in found for each in page.series} == {20}
    assert {each.points[0].values[0] for page in latest for each in page.series} == {19.0}
    assert [[each.id for each in page.series] for page in one] == [["a"], ["b"]]


@pytest.mark.parametrize("token", ["7", "x rgw.a", "-1 rgw.a", " rgw.a"])
async def test_a_token_that_is_none_is_refused(stub, token):
    """It says so instead of beginning anywhere."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.GetCounters(pb.GetCountersRequest(type="rgw", page_token=token))

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_loop_turns_while_much_is_read(fleet):
    """Ten thousand counters in one question must not stop the heartbeat of the active."""
    counters = [Counter(group="g", name=f"n{number}") for number in range(2000)]
    counting(fleet, "a", counters, reports=20)
    role = SimpleNamespace(fleet=fleet)
    servicer = ClusterServicer(
        "a",
        role_of=lambda: role,
        view=None,
        streams=None,
        authorizer=None,
        calls=None,
        joins=None,
    )

    turns, answer = await turns_while(servicer.GetCounters(pb.GetCountersRequest(type="rgw"), None))

    assert len(answer.series) > 1000
    assert turns >= len(answer.series) / AT_ONCE


async def test_the_loop_turns_while_much_is_declared():
    """The same of what a daemon declares, which takes far longer than a report."""
    message = pb.Declare(replace=True)
    for number in range(1000):
        labels = {f"label{each}": "x" for each in range(15)}
        message.counters.add(group="g", name=f"n{number}", kind=int(Kind.AVERAGE), labels=labels)

    turns, counters = await turns_while(counters_in(message))

    assert len(counters) == 1000
    assert turns >= 1000 / READ_AT_ONCE
