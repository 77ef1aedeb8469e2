"""The library against the managers' own servers: what both sides promise each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mgr.client import AsyncDaemon, Device
from mgr.cluster.daemon import DaemonCommand, DaemonState, ReportConfig
from mgr.cluster.fleet_options import FleetOptions
from mgr.errors import InvalidArgumentError
from tests.integration.rpc.cluster import cluster, until

pytestmark = pytest.mark.slow  # real servers, and waits that are the point

TUNING = FleetOptions(report_config=ReportConfig(period_s=0.1, lowest_priority=5))


@pytest.fixture
async def three():
    async with cluster("a", "b", "c") as managers:
        managers.promote("a", 5).fleet.options = TUNING
        yield managers


@pytest.fixture
def fleet(three):
    return three["a"].role.fleet


async def newest(fleet, path):
    """The last point's values of a counter of ``web.eu-1``, once there is one."""

    def point():
        ring = fleet.daemons["web.eu-1"].ring
        known = any(slot.counter.path == path for slot in ring.schema.slots)
        return known and ring.latest(ring.schema.slot(path))

    await until(lambda: "web.eu-1" in fleet.daemons and point())
    return list(point()[1:])


async def test_what_a_program_says_becomes_state(three, fleet):
    """Counters in rings, by path; status, metrics and devices beside them."""
    async with AsyncDaemon("web", "eu-1", three.hosts, version="1.2", metadata={"a": 1}) as daemon:
        daemon.counter("requests").inc(3)
        daemon.average("latency", unit="seconds").observe(0.5)
        daemon.histogram("sizes", bounds=[1, 2]).observe(1.5)
        daemon.counter("steps", priority=2).inc()
        daemon.status["state"] = "ok"
        daemon.health_metric("SLOW_OPS", 2, "oldest 5 s")
        daemon.devices([Device("ACME_1", "sda", wear_level=0.1)])

        assert await newest(fleet, "web.requests") == [3]
        assert await newest(fleet, "web.latency") == [0.5, 1]
        assert await newest(fleet, "web.sizes") == [0, 1, 0, 1.5]
        known = fleet.daemons["web.eu-1"]
        await until(lambda: known.devices)
        assert known.state is DaemonState.REPORTING
        assert known.record.metadata["a"] == "1"
        assert known.status == {"state": "ok"}
        assert [(m.code, m.value) for m in known.metrics] == [("SLOW_OPS", 2)]
        assert known.devices[0].wear_level == pytest.approx(0.1)
        assert len(known.ring.schema.slots) == 3

        daemon.counter("late").inc()
        assert await newest(fleet, "web.late") == [1]

    await until(lambda: "web.eu-1" not in fleet.daemons)
    assert three["a"].role.refused == []


async def test_commands_travel_both_ways(three, fleet):
    """Over the one stream."""
    async with AsyncDaemon("web", "eu-1", three.hosts) as daemon:
        daemon.command("ping name=who,type=CephString", "")(lambda who: f"pong {who}")
        await until(lambda: daemon.joined and fleet.daemons["web.eu-1"].stream)

        result = await fleet.daemons["web.eu-1"].stream.run_command(
            DaemonCommand(("ping", "x"), {}), timeout_s=5
        )
        answer = await daemon.execute(["echo", "hello"])

        assert result.stdout == "pong x"
        assert (answer.text, answer.term) == ("hello", 5)


async def test_the_next_active_is_reported_everything(three, fleet):
    """By a daemon that did nothing for it."""
    async with AsyncDaemon("web", "eu-1", three.hosts) as daemon:
        daemon.counter("requests").inc(3)
        daemon.status["state"] = "ok"
        await newest(fleet, "web.requests")

        successor = three.promote("b", 6, among=["b", "c"]).fleet
        successor.options = TUNING
        await three["a"].server.close(0)

        assert await newest(successor, "web.requests") == [3]
        await until(lambda: successor.daemons["web.eu-1"].status == {"state": "ok"})


async def test_of_two_programs_with_one_name_the_newer_stays(three, fleet):
    """The older one does not come back, also when it missed why its stream ended."""
    async with AsyncDaemon("web", "eu-1", three.hosts) as older:
        older.counter("requests").inc()
        await newest(fleet, "web.requests")
        async with AsyncDaemon("web", "eu-1", three.hosts) as newer:
            await until(lambda: older.replaced)
            await until(lambda: fleet.daemons["web.eu-1"].incarnation == newer.identity.incarnation)
            await until(lambda: newer.joined)
            assert not newer.replaced


async def test_the_rule_that_was_broken_is_in_the_programs_log(three, caplog):
    """Else its author could only guess: the managers' limits may be lower than the library's."""
    three["a"].role.fleet.options = replace(TUNING, counters_max=1)
    async with AsyncDaemon("web", "eu-1", three.hosts) as daemon:
        daemon.counter("one")
        daemon.counter("two")
        await until(lambda: [each for each in caplog.records if each.levelname == "ERROR"])

    (error,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "2 counters; a daemon may have 1" in error.why


async def test_an_invalid_value_disturbs_no_membership(three, fleet):
    """The caller gets the error; the daemon stays, with its state before and its counts since."""
    async with AsyncDaemon("web", "eu-1", three.hosts) as daemon:
        daemon.status["state"] = "ok"
        requests = daemon.counter("requests")
        assert await newest(fleet, "web.requests") == [0]

        with pytest.raises(InvalidArgumentError, match="status 'state'"):
            daemon.status["state"] = "\x1b[31m"
        with pytest.raises(InvalidArgumentError, match="health metric"):
            daemon.health_metric("MGR_DOWN", 1)
        daemon.task_status["reindex"] = "40 %"
        requests.inc()

        known = fleet.daemons["web.eu-1"]
        await until(lambda: known.task_status)
        assert await newest(fleet, "web.requests") == [1]
        assert known.status == {"state": "ok"}

    assert three["a"].role.refused == []
