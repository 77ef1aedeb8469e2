"""A fleet reports to real managers, and the active is killed."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal

import grpc

from mgr.rpc.v1 import cluster_pb2 as pb
from mgr.rpc.v1.cluster_pb2_grpc import ClusterServiceStub
from tests.integration.rpc.reporting import Stream, counter

DAEMONS = 20
PERIOD_S = 1


async def report(hosts, ident):
    """What any program does that follows the wire format: report, and go on after a loss."""
    counters = itertools.count(1)
    for attempt, host in enumerate(itertools.cycle(hosts)):
        async with grpc.aio.insecure_channel(host) as channel:
            stream = Stream(ClusterServiceStub(channel).Report())
            try:
                # What a failed assertion says here is that the stream ended: a standby's answer.
                await stream.open("rgw", ident, incarnation=ident, rejoins=attempt > 0)
                await stream.declare(counter("requests", pb.COUNTER_KIND_COUNTER))
                while True:
                    await stream.report(next(counters))
                    await asyncio.sleep(PERIOD_S)
            except (AssertionError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await asyncio.sleep(0.05)


async def latest(manager):
    """The newest value of every daemon's counter."""
    async with grpc.aio.insecure_channel(manager.grpc_address) as channel:
        stub = ClusterServiceStub(channel)
        found = await stub.GetCounters(pb.GetCountersRequest(type="rgw", latest=True))
    return {series.id: series.points[0].values[0] for series in found.series}


async def all_report(manager):
    """Wait until the whole fleet does, for its second time."""
    async with asyncio.timeout(30):
        while sum(value > 1 for value in (await latest(manager)).values()) < DAEMONS:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.1)


async def test_a_fleet_comes_back_after_the_active_was_killed(start):
    """Its successor awaits everybody before one of them is back, and calls nobody silent."""
    cluster = start()

    async def run(*words):
        answer = await asyncio.to_thread(cluster.run, *words, format="json")
        return json.loads(answer.text or "null")

    async with asyncio.TaskGroup() as fleet:
        first = await asyncio.to_thread(cluster.settled)
        await run("config", "set", "mgr", "mgr_stats_period", str(PERIOD_S))
        # Beside other tests on a small machine, a second may last several.
        await run("config", "set", "mgr", "mgr_daemon_grace", "20")
        running = [fleet.create_task(report(cluster.hosts, f"n{each}")) for each in range(DAEMONS)]
        await all_report(first)

        first.signal(signal.SIGKILL, worker=True)
        successor = await asyncio.to_thread(cluster.active)
        known = await run("daemon", "ls")
        await all_report(successor)
        health = await run("health")
        for each in running:
            each.cancel()

    assert successor.name != first.name
    assert len(known) == DAEMONS
    assert not {"MGR_DAEMON_SILENT", "MGR_DAEMON_DUPLICATE"} & health["checks"].keys()
