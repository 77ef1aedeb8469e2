"""Daemons report over real streams to the state of a manager that leads."""

from __future__ import annotations

import asyncio
import contextlib
import math

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from mgr.clock import wall_s
from mgr.cluster.daemon import DaemonCommand, DaemonState, ReportConfig
from mgr.cluster.fleet_options import FleetOptions
from mgr.cluster.validation import MESSAGES_AT_ONCE
from mgr.errors import (
    NotActiveError,
    OutcomeUnknownError,
    ReplacedError,
    ReportLimitError,
    ReportRefusedError,
)
from mgr.rpc.v1 import cluster_pb2 as pb
from mgr.rpc.v1.command_pb2 import (
    CommandDescription,
    ExecuteRequest,
    ExecuteResponse,
    SessionRequest,
)
from tests.integration.rpc.cluster import cluster, until
from tests.integration.rpc.reporting import counter, daemons
from tests.support.faults.proxy import Mode, Proxy


async def test_a_report_becomes_a_point_of_each_counter(fleet, stub):
    """Read by path, with the time of its arrival."""
    stream = stub.stream()
    configure = await stream.open(metadata={"arch": "z80"})
    await stream.declare(counter("queue"), counter("wait", pb.COUNTER_KIND_AVERAGE))
    await stream.report(3, 1.5, 4)
    await stream.report(4, 2.5, 6, status=pb.Texts(texts={"mood": "glad"}))
    await stream.settle()

    daemon = fleet.daemons["rgw.a"]
    schema = daemon.ring.schema
    points = daemon.ring.points(schema.slot("rgw.queue"))

    assert configure.period.ToSeconds() == 5
    assert [values for _, *values in points] == [[3.0], [4.0]]
    assert wall_s() - points[-1][0] < 5
    assert daemon.ring.latest(schema.slot("rgw.wait"))[1:] == [2.5, 6.0]
    assert daemon.record.metadata == {"arch": "z80"}
    assert daemon.state is DaemonState.REPORTING


async def test_daemons_of_one_kind_share_one_schema(fleet, stub):
    """Ten thousand of them hold it once."""
    for ident in ("a", "b"):
        stream = stub.stream()
        await stream.open(ident=ident)
        await stream.declare(counter("queue", labels={"zone": "eu", "pool": "x"}))
        await stream.report(1)
        await stream.settle()

    a, b = (fleet.daemons[name].ring.schema for name in ("rgw.a", "rgw.b"))

    assert a is b
    assert a.slot("rgw.queue") is None
    assert a.slot_with_labels("rgw", "queue", [("zone", "eu"), ("pool", "x")]) is not None


async def test_what_was_declared_later_comes_after_what_was_declared_before(fleet, stub):
    """Older points stay, those of the new counter begin with the next report."""
    stream = stub.stream()
    await stream.open()
    await stream.declare(counter("one"))
    await stream.report(1)
    await stream.declare(counter("two"), replace=False)
    await stream.report(2, 20)
    await stream.settle()

    ring = fleet.daemons["rgw.a"].ring
    points = {
        name: [values for _, *values in ring.points(ring.schema.slot(f"rgw.{name}"))]
        for name in ("one", "two")
    }

    assert points == {"one": [[1.0], [2.0]], "two": [[20.0]]}


async def test_a_daemon_that_comes_back_keeps_its_points(fleet, stub):
    """The same program over a new stream: a broken connection is no new beginning."""
    for value in (1, 2):
        stream = stub.stream()
        await stream.open(rejoins=value > 1)
        await stream.declare(counter("queue"))
        await stream.report(value)
        await stream.settle()
        await stream.end()
        await until(lambda: fleet.daemons["rgw.a"].stream is None)

    daemon = fleet.daemons["rgw.a"]
    points = daemon.ring.points(daemon.ring.schema.slot("rgw.queue"))

    assert [values for _, *values in points] == [[1.0], [2.0]]


async def test_a_daemon_that_leaves_is_forgotten_and_one_that_vanishes_is_missed(fleet, stub):
    """Only a close says that it will not come back."""
    leaves, vanishes = stub.stream(), stub.stream()
    await leaves.open(ident="leaves")
    await vanishes.open(ident="vanishes")

    await leaves.send(close=pb.Close())
    await vanishes.end()
    await until(lambda: fleet.daemons["rgw.vanishes"].stream is None)

    assert await leaves.call.code() is grpc.StatusCode.OK
    assert set(fleet.daemons) == {"rgw.vanishes"}


async def test_the_newer_of_two_programs_with_one_name_wins(fleet, stub):
    """The older gets the reason; health and log show it."""
    older, newer = stub.stream(), stub.stream()
    await older.open(incarnation="i1")
    await newer.open(incarnation="i2", host="h2")

    refusal = await older.refusal()
    await newer.declare(counter("queue"))
    await newer.report(7)
    await newer.settle()
    daemon = fleet.daemons["rgw.a"]
    fleet.update_states()

    assert type(refusal) is ReplacedError
    assert daemon.incarnation == "i2"
    assert daemon.stream is not None
    assert fleet.health.duplicate_names == ("rgw.a",)


async def test_a_program_that_opens_again_replaces_itself_in_silence(fleet, stub):
    """A half-open connection of its own is nobody's fault."""
    older, newer = stub.stream(), stub.stream()
    await older.open()
    await newer.open()

    assert type(await older.refusal()) is ReplacedError
    fleet.update_states()
    assert fleet.health.duplicate_names == ()


def opens(**more):
    return lambda stream: stream.open(**more)


def declares(*counters):
    return lambda stream: stream.declare(*counters)


def reports(*values):
    return lambda stream: stream.report(*values)


LIES = {
    "name": [opens(ident="a\x1bb")],
    "texts": [opens(metadata={"k": "v" * 20_000})],
    "counters": [opens(), declares(*[counter(f"c{number}") for number in range(10_001)])],
    "schema": [opens(), declares(counter("a"), counter("a"))],
    "values": [opens(), declares(counter("a")), reports(1, 2)],
    "labels": [opens(), declares(counter("a", labels={f"l{n}": "" for n in range(20)}))],
    "incarnation": [opens(incarnation="")],
    "commands": [opens(commands=[CommandDescription(signature="drop \x1b[2J")])],
    "rate": [opens(), *[reports()] * (MESSAGES_AT_ONCE + 1)],
    "size": [opens(), reports(*[1.0] * 600_000)],
}


@pytest.mark.parametrize("rule", LIES)
async def test_a_daemon_that_lies_is_refused_and_nobody_else_is_touched(rule, active, fleet, stub):
    """It gets the rule that it broke, the rule is counted, and another daemon reports on."""
    fleet.options = FleetOptions(report_config=ReportConfig(period_s=3600))
    honest, liar = stub.stream(), stub.stream()
    await honest.open(ident="honest")
    await honest.declare(counter("queue"))

    # The refusal may overtake what is still to be sent.
    with contextlib.suppress(AssertionError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
        for lie in LIES[rule]:
            await lie(liar)
    refusal = await liar.refusal()
    await honest.report(1)
    await honest.settle()

    assert fleet.daemons["rgw.honest"].reported_at
    assert isinstance(refusal, ReportRefusedError)
    assert refusal.rule == rule
    assert active.role.refused == [rule]
    over = rule in {"texts", "counters", "labels", "rate", "size"}
    assert isinstance(refusal, ReportLimitError) is over


async def test_a_gauge_may_be_no_number_and_a_counter_may_not(fleet, stub):
    """NaN is a way to say "unknown"; a total that is NaN is a fault."""
    gauge, total = stub.stream(), stub.stream()
    await gauge.open(ident="gauge")
    await gauge.declare(counter("a"))
    await gauge.report(math.nan)
    await total.open(ident="total")
    await total.declare(counter("a", pb.COUNTER_KIND_COUNTER))
    await total.report(math.inf)

    await gauge.settle()

    assert (await total.refusal()).rule == "values"
    assert fleet.daemons["rgw.gauge"].reported_at


async def test_a_clock_that_is_an_hour_off_is_reported(active, fleet, stub):
    """The daemon is let in; its clock is not used for anything."""
    now = Timestamp()
    now.FromSeconds(int(wall_s()) + 3600)
    configure = await stub.stream().open(now=now)
    exact = await stub.stream().open(ident="b", now=Timestamp(seconds=int(wall_s())))

    fleet.update_states()

    assert 3500 < fleet.health.clocks["rgw.a"] < 3700
    assert 3500 < configure.clock_ahead.seconds < 3700
    assert not exact.HasField("clock_ahead")
    assert "s ahead" in active.role.log.last(1)[0].message


async def test_a_command_reaches_the_daemon_and_its_answer_comes_back(fleet, stub):
    """With a time limit; who goes away meanwhile leaves the outcome unknown."""
    stream = stub.stream()
    await stream.open()
    line = fleet.daemons["rgw.a"].stream

    async with asyncio.TaskGroup() as tasks:
        ours = DaemonCommand(("hi",), {}, from_manager=True)
        answering = tasks.create_task(line.run_command(ours, timeout_s=5))
        command = (await stream.receive()).command
        answer = ExecuteResponse(retval=-2, stdout=b"out", stderr="err")
        await stream.send(result=pb.CommandResult(id=command.id, response=answer))

    assert list(command.execute.words) == ["hi"]
    assert (command.term, command.from_manager) == (fleet.term, True)
    assert (answering.result().retval, answering.result().stdout) == (-2, "out")

    with pytest.raises(OutcomeUnknownError, match="no answer within"):
        await line.run_command(DaemonCommand(("hi",), {}), timeout_s=0.01)
    async with asyncio.TaskGroup() as tasks:
        answering = tasks.create_task(
            _failure(line.run_command(DaemonCommand(words=("x",), arguments={}), timeout_s=5))
        )
        await stream.receive()
        assert not (await stream.receive()).command.from_manager  # a client's
        await stream.end()
    assert isinstance(answering.result(), OutcomeUnknownError)


async def _failure(work):
    try:
        return await work
    except OutcomeUnknownError as error:
        return error


async def test_a_daemon_runs_commands_of_the_manager(stub):
    """Over its own stream, answered as a session answers."""
    stream = stub.stream()
    await stream.open()

    ask = SessionRequest(id=7, execute=ExecuteRequest(words=["echo", "hello"]))
    await stream.send(call=ask)
    answer = (await stream.receive()).answer

    assert (answer.id, answer.response.stdout) == (7, b"hello")


async def test_a_stream_that_does_not_open_is_ended(monkeypatch, stub):
    """It costs a place for ten seconds and no more."""
    monkeypatch.setattr("mgr.rpc.daemon_stream.OPEN_S", 0.05)

    refusal = await stub.stream().refusal()

    assert (type(refusal), refusal.rule) == (ReportRefusedError, "open")


async def test_a_standby_sends_daemons_to_the_active():
    """With the hint that every other service of a standby gives."""
    async with cluster("a", "b") as managers:
        managers.promote("a", 7)
        async with daemons(managers["b"].address) as stub:
            refusal = await stub.stream().refusal()
            with pytest.raises(grpc.aio.AioRpcError) as listed:
                await stub.ListDaemons(pb.ListDaemonsRequest())

        assert isinstance(refusal, NotActiveError)
        assert refusal.active_address == managers["a"].address
        assert listed.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_leadership_is_lost_and_streams_end_with_the_hint(active, fleet, stub):
    """A daemon needs no time-out to learn of a failover."""
    stream = stub.stream()
    await stream.open()
    active.view.set(None)

    async with asyncio.TaskGroup() as tasks:
        closing = tasks.create_task(active.server.close(1))
        refusal = await stream.refusal()
        await closing

    assert isinstance(refusal, NotActiveError)
    assert fleet.daemons["rgw.a"].stream is None
    assert active.role.refused == []


async def test_daemons_and_counters_are_listed(stub, fleet):
    """By type and host, by path, newest or all."""
    for ident, host in (("b", "h1"), ("a", "h2")):
        stream = stub.stream()
        await stream.open(ident=ident, host=host)
        await stream.declare(counter("queue"), counter("age"))
        await stream.report(1, 2)
        await stream.report(3, 4)
        await stream.settle()

    listed = await stub.ListDaemons(pb.ListDaemonsRequest(type="rgw"))
    here = await stub.ListDaemons(pb.ListDaemonsRequest(host="h2"))
    series = await stub.GetCounters(pb.GetCountersRequest(type="rgw", path="rgw.queue"))
    latest = await stub.GetCounters(pb.GetCountersRequest(type="rgw", id="a", latest=True))

    assert [d.id for d in listed.daemons] == ["a", "b"]
    assert listed.daemons[0].state == pb.DAEMON_STATE_REPORTING
    assert [d.id for d in here.daemons] == ["a"]
    assert [[p.values[0] for p in each.points] for each in series.series] == [[1, 3], [1, 3]]
    assert {s.counter.name: s.points[0].values[0] for s in latest.series} == {"queue": 3, "age": 4}
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await stub.GetCounters(pb.GetCountersRequest(type="rgw", id="nobody"))
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.slow
async def test_a_report_beyond_what_the_manager_takes_is_refused(active, fleet, stub):
    """Fifty megabytes never reach Python: gRPC says so, and the others report on."""
    honest, liar = stub.stream(), stub.stream()
    await honest.open(ident="honest")
    await liar.open(ident="liar")

    await liar.report(*[1.0] * 6_600_000)
    await honest.report()
    await honest.settle()

    assert await liar.call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await until(lambda: fleet.daemons["rgw.liar"].stream is None)
    assert active.role.refused == ["broke_off"]


async def test_a_daemon_that_does_not_read_is_disconnected(monkeypatch, active, fleet):
    """Messages for it do not pile up; others get theirs at once."""
    monkeypatch.setattr("mgr.rpc.daemon_stream.WRITE_S", 0.2)
    async with (
        daemons(active.address, window=False) as deaf_stub,
        daemons(active.address) as stub,
    ):
        deaf, other = deaf_stub.stream(), stub.stream()
        await deaf.open(ident="deaf")
        await other.open(ident="other")

        line, order = fleet.daemons["rgw.deaf"].stream, DaemonCommand(("x" * 100_000,), {})
        async with asyncio.TaskGroup() as tasks:
            for _ in range(40):
                tasks.create_task(_failure(line.run_command(order, timeout_s=5)))
            await until(lambda: fleet.daemons["rgw.deaf"].stream is None)
            fleet.daemons["rgw.other"].stream.configure(ReportConfig(period_s=9))
            assert (await other.receive()).configure.period.ToSeconds() == 9
    assert active.role.refused == ["unread"]


async def test_a_daemon_whose_host_vanished_is_noticed_by_pings(monkeypatch):
    """A cut cable sends no goodbye: without pings its stream would stand for hours."""
    monkeypatch.setattr("mgr.rpc.server.KEEPALIVE_MS", 1000)
    monkeypatch.setattr("mgr.rpc.server.PING_TIMEOUT_MS", 300)
    async with cluster("a") as managers, contextlib.AsyncExitStack() as running:
        managers.promote("a", 7)
        fleet = managers["a"].role.fleet
        proxy = await running.enter_async_context(Proxy(managers["a"].address))
        stub = await running.enter_async_context(daemons(proxy.address))
        await stub.stream().open()
        assert fleet.daemons["rgw.a"].stream is not None

        proxy.mode = Mode.PAUSE

        await until(lambda: fleet.daemons["rgw.a"].stream is None)
        assert fleet.daemons["rgw.a"].state is DaemonState.REPORTING, (
            "it has its grace to come back"
        )


async def test_a_daemon_that_goes_while_it_is_written_to_is_no_fault_of_ours(active, fleet, caplog):
    """It is missed like any other; the manager's log has no traceback."""
    for number in range(10):
        async with daemons(active.address) as stub:
            stream = stub.stream()
            await stream.open(ident=f"n{number}")
            line = fleet.daemons[f"rgw.n{number}"].stream
            await stream.end()
            for _ in range(5):
                line.configure(ReportConfig())
                await asyncio.sleep(0)
    await until(lambda: not any(daemon.stream for daemon in fleet.daemons.values()))

    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    assert set(active.role.refused) == {"broke_off"}
