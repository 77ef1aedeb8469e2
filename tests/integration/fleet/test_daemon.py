"""A program is a member of the fleet, whichever manager is active."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mgr.client import AsyncDaemon, Daemon
from mgr.client.peers import OPTIONS
from mgr.clock import CLOCK
from mgr.errors import (
    InvalidArgumentError,
    ReportRefusedError,
    UnreachableError,
)
from mgr.rpc.v1 import cluster_pb2
from tests.support.fake_fleet import joined
from tests.support.faults.proxy import Mode, Proxy

pytestmark = pytest.mark.slow  # real servers, and waits that are the point


async def test_a_program_says_who_it_is(fleet, until):
    """Name, host, version, metadata, commands: with the first message."""
    async with AsyncDaemon(
        "web", "eu-1", fleet.hosts, host="h1", version="1.2", metadata={"cores": 4}
    ) as daemon:
        daemon.command("cache drop name=what,type=CephString", "Drop it")(lambda what: what)
        stream = await joined(fleet, until)

    opening = stream.opening
    assert (opening.type, opening.id, opening.host, opening.version) == ("web", "eu-1", "h1", "1.2")
    assert dict(opening.metadata) == {"cores": "4"}
    assert [each.signature for each in opening.commands] == ["cache drop name=what,type=CephString"]
    assert not opening.rejoins
    assert opening.incarnation


async def test_counters_of_each_kind_arrive(fleet, web, until):
    """With the values that they have when the report is made."""
    requests = web.counter("requests", description="How many", priority=10)
    web.gauge("inflight").set(3)
    web.gauge("queue", function=lambda: 7)
    latency = web.average("latency", unit="seconds")
    sizes = web.histogram("sizes", bounds=[10, 100])
    requests.inc()
    requests.inc(2)
    latency.observe(0.25)
    latency.observe(0.5)
    for size in (5, 10, 50, 1000):
        sizes.observe(size)

    stream = await joined(fleet, until)

    assert stream.counters() == {
        "web.requests": [3],
        "web.inflight": [3],
        "web.queue": [7],
        "web.latency": [0.75, 2],
        "web.sizes": [2, 1, 1, 1065],
    }
    assert stream.declared[0].description == "How many"
    assert stream.declared[3].unit == cluster_pb2.COUNTER_UNIT_SECONDS


async def test_a_counter_may_come_at_any_time(fleet, web, until):
    """It is declared after the others, which are not declared again."""
    web.counter("first").inc()
    stream = await joined(fleet, until)

    web.counter("second", {"method": "GET"}).inc(5)

    await until(lambda: len(stream.declared) == 2)
    await until(lambda: stream.counters().get("web.second{method=GET}") == [5])
    assert [each.replace for each in stream.declarations] == [True, False]


async def test_uninteresting_counters_are_left_out_until_they_are_wanted(fleet, web, until):
    """The manager's threshold may change at any time."""
    fleet["a"].lowest_priority = 5
    web.counter("requests").inc()
    web.counter("steps", priority=0).inc()
    stream = await joined(fleet, until)
    assert list(stream.counters()) == ["web.requests"]

    stream.configure(lowest_priority=0)

    await until(lambda: len(stream.declared) == 2)
    assert stream.declarations[-1].replace
    await until(lambda: stream.counters() == {"web.requests": [1], "web.steps": [1]})


async def test_the_period_may_change(fleet, web, until):
    """At once, not after the old one."""
    stream = await joined(fleet, until)
    stream.configure(period_s=3600)
    count = len(stream.reports)
    await until(lambda: len(stream.reports) == count + 1)

    stream.configure(period_s=0.05)

    await until(lambda: len(stream.reports) > count + 3)


async def test_the_status_is_sent_when_it_changes(fleet, web, until):
    """And only then."""
    web.status["state"] = "ok"
    web.health_metric("SLOW_OPS", 3, "oldest 5 s")
    stream = await joined(fleet, until)
    await until(lambda: len(stream.reports) > 2)

    web.status["state"] = "busy"
    web.health_metric("SLOW_OPS", 0)

    await until(lambda: stream.reports[-1].sequence > 6)
    sent = [dict(r.status.texts) for r in stream.reports if r.HasField("status")]
    metrics = [
        len(r.health_metrics.metrics) for r in stream.reports if r.HasField("health_metrics")
    ]
    assert sent == [{"state": "ok"}, {"state": "busy"}]
    assert metrics == [1, 0]


async def test_a_hand_over_is_followed(fleet, web, until):
    """The standby's hint is enough; counters go on, everything is sent again."""
    requests = web.counter("requests")
    requests.inc()
    web.status["state"] = "ok"
    first = await joined(fleet, until)

    fleet.lead("c")

    second = await joined(fleet, until)
    assert second.opening.rejoins
    assert second.opening.incarnation == first.opening.incarnation
    requests.inc()
    await until(lambda: second.counters() == {"web.requests": [2]})
    assert second.reports[0].status.texts["state"] == "ok"


async def test_a_killed_active_is_followed(fleet, web, until):
    """The connection breaks, another one leads a moment later: the program does nothing."""
    web.counter("requests").inc(7)
    await joined(fleet, until)

    await fleet["a"].kill()
    fleet.lead("b")

    stream = await joined(fleet, until)
    assert stream.counters() == {"web.requests": [7]}


async def test_a_frozen_active_is_given_up(fleet, until, monkeypatch):
    """Nothing is closed and nothing is refused: only pings find out."""
    brisk = {"grpc.keepalive_time_ms": 300, "grpc.keepalive_timeout_ms": 200}
    brisk["grpc.http2.ping_timeout_ms"] = 200
    monkeypatch.setattr("mgr.client.peers.OPTIONS", tuple((dict(OPTIONS) | brisk).items()))
    async with Proxy(fleet["a"].address) as cable:
        fleet["a"].reached_at = cable.address
        async with AsyncDaemon("web", "eu-1", [cable.address, fleet["b"].address]) as daemon:
            await joined(fleet, until)

            cable.mode = Mode.PAUSE
            fleet.lead("b")

            stream = await joined(fleet, until)
            assert stream.opening.rejoins
            assert daemon.joined


async def test_who_is_sent_on_by_a_standby_arrives(fleet, until):
    """One known manager is enough, also if it does not lead."""
    async with AsyncDaemon("web", "eu-1", fleet["b"].address):
        stream = await joined(fleet, until)

    assert stream.term == fleet.term


async def test_another_program_of_the_name_ends_this_one(fleet, web, until, caplog):
    """One clear line, a flag, a call; and no fight for the name."""
    notified = threading.Event()
    web.on_replaced = notified.set
    await joined(fleet, until)

    async with AsyncDaemon("web", "eu-1", fleet.hosts) as newer:
        await until(lambda: web.replaced)
        await until(notified.is_set)
        stream = await joined(fleet, until)
        assert stream.opening.incarnation == newer.identity.incarnation
        opened = fleet["a"].opened
        await asyncio.sleep(0.3)

    assert fleet["a"].opened == opened
    assert not web.joined
    lines = [each for each in caplog.records if each.levelname == "ERROR"]
    assert [each.daemon for each in lines] == ["web.eu-1"]


async def test_a_command_added_late_is_announced_without_a_gap(fleet, web, until):
    """The stream is opened again by the same incarnation."""
    first = await joined(fleet, until)

    web.command("late", "")(lambda: "here")

    await until(lambda: fleet["a"].log[-1] is not first and fleet["a"].log[-1].reports)
    second = fleet["a"].log[-1]
    assert [each.signature for each in second.opening.commands] == ["late"]
    assert second.opening.rejoins
    assert second.opening.incarnation == first.opening.incarnation


async def test_what_is_refused_is_not_asked_for_at_once_again(fleet, until, caplog):
    """The author must act: one error in the log, and a long pause."""
    fleet["a"].refuses = [ReportRefusedError("name", "not so")] * 50

    async with AsyncDaemon("web", "eu-1", fleet.hosts):
        await until(lambda: fleet["a"].opened)
        await asyncio.sleep(0.3)

    assert fleet["a"].opened == 1
    errors = [each for each in caplog.records if each.levelname == "ERROR"]
    assert ["not so" in each.why for each in errors] == [True]


async def test_leaving_says_so(fleet, until):
    """With the last values."""
    async with AsyncDaemon("web", "eu-1", fleet.hosts) as daemon:
        counter = daemon.counter("requests")
        stream = await joined(fleet, until)
        counter.inc(41)
    await until(lambda: stream.ended)
    assert stream.closed
    assert stream.counters() == {"web.requests": [41]}


async def test_a_program_that_breaks_is_missed(fleet, until):
    """An exception that leaves the block does not remove the daemon."""

    async def program():
        async with AsyncDaemon("web", "eu-1", fleet.hosts):
            await joined(fleet, until)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await program()

    stream = fleet["a"].log[-1]
    await until(lambda: stream.ended)
    assert not stream.closed


async def test_a_gauges_function_that_hangs_stops_no_report(fleet, web, until, monkeypatch):
    """Its last value is reported; others' functions wait with it."""
    monkeypatch.setattr("mgr.client.daemon.report_session.SAMPLE_S", 0.05)
    hold = threading.Event()
    web.gauge("queue", function=lambda: hold.wait() and 5)
    try:
        stream = await joined(fleet, until)
        await until(lambda: len(stream.reports) > 3)
        assert stream.counters() == {"web.queue": [0]}
    finally:
        hold.set()
    await until(lambda: stream.counters() == {"web.queue": [5]})


async def test_nobody_there_costs_a_program_nothing():
    """It starts at once and ends at once."""
    begun_s = CLOCK.now()

    async with AsyncDaemon("web", "eu-1", "127.0.0.1:1") as daemon:
        daemon.counter("requests").inc()
        assert not await daemon.wait_joined(0.2)

    assert CLOCK.now() - begun_s < 1


async def test_a_missing_active_is_logged_with_the_reason_of_each_address(
    fleet, until, caplog, monkeypatch
):
    """Wrong hosts would otherwise go unnoticed."""
    monkeypatch.setattr("mgr.retry_log.FIRST_LOG_S", 0.1)
    monkeypatch.setattr("mgr.client.daemon.membership.PAUSE_S_MAX", 0.1)
    fleet.lead(None)
    async with AsyncDaemon("web", "eu-1", [fleet["a"].address, "127.0.0.1:1"]) as daemon:
        await until(lambda: "refused" in caplog.text)
        fleet.lead("a")
        assert await daemon.wait_joined()

    messages = [each.getMessage() for each in caplog.records]
    assert any("reports no leader" in each and "127.0.0.1:1: " in each for each in messages)
    assert "active manager found" in messages[-1]


def test_a_name_that_no_daemon_may_have_is_refused_at_once():
    """Not in the background, where nobody would look."""
    for name in [("we b", "1"), ("web", ""), ("web", "a/b")]:
        with pytest.raises(InvalidArgumentError, match="invalid daemon name"):
            AsyncDaemon(*name, "127.0.0.1:1")


async def test_the_blocking_twin_does_all_of_it(fleet, until):
    """From threads; the loop that it uses is nobody's business."""

    def program():
        with Daemon("web", "eu-1", fleet.hosts) as daemon:
            daemon.command("ping", "")(lambda: (0, "pong", ""))
            daemon.counter("requests").inc()
            assert daemon.wait_joined()
            return daemon.execute(["status"]).text

    loop = asyncio.get_running_loop()
    running = loop.run_in_executor(None, program)
    answer = await running

    stream = fleet["a"].log[-1]
    await until(lambda: stream.ended)
    assert answer == "status"
    assert stream.closed
    assert stream.counters() == {"web.requests": [1]}


async def test_a_membership_begins_once(fleet):
    """Started again, a daemon that was closed would do nothing, and without any sign of that."""

    def program():
        daemon = Daemon("web", "eu-1", fleet.hosts)
        daemon.close()
        with daemon:
            daemon.start()
        with pytest.raises(RuntimeError, match=r"web\.eu-1 was closed: make another"):
            daemon.start()
        daemon.close()

    await asyncio.get_running_loop().run_in_executor(None, program)
    daemon = AsyncDaemon("web", "eu-1", fleet.hosts)
    async with daemon:
        pass
    with pytest.raises(RuntimeError, match="make another"):
        async with daemon:
            pass


async def test_a_forked_process_waits_for_nothing(fleet):
    """The thread that would answer is not in it: closing returns, asking fails, both at once."""
    daemon = Daemon("web", "eu-1", fleet.hosts)
    daemon.start()
    here = daemon._process
    try:
        daemon._process = -1
        daemon.counter("requests").inc()
        daemon.close()
        assert not daemon.wait_joined()
        with pytest.raises(UnreachableError, match="not started in this process"):
            daemon.execute("status")
        with pytest.raises(RuntimeError, match="make another"):
            daemon.start()
    finally:
        daemon._process = here
        await asyncio.get_running_loop().run_in_executor(None, daemon.close)


async def test_a_blocking_program_ends_in_time_without_a_manager(fleet):
    """Also if it never joined."""
    fleet.lead(None)

    def program():
        with Daemon("web", "eu-1", fleet.hosts) as daemon:
            daemon.counter("requests").inc()
            return daemon.wait_joined(0.2)

    begun_s = CLOCK.now()
    assert await asyncio.get_running_loop().run_in_executor(None, program) is False
    assert CLOCK.now() - begun_s < 3
