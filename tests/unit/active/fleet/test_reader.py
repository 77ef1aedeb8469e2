"""The fleet on the active: read by modules, stored, tuned by options, shown in health."""

import errno
import json
import timeit

from msgspec.structs import replace

from mgr.access.table import Caller
from mgr.active.fleet.store import FleetStore
from mgr.clock import CLOCK
from mgr.cluster.counters import Counter, Kind, Unit
from mgr.cluster.daemon import DaemonAnswer, DaemonState, DaemonStatus, Metric, OpenRequest
from mgr.cluster.daemon_record import decode
from mgr.cluster.fleet import Fleet
from mgr.cluster.log import ClusterLog
from mgr.command.builtin.daemon import TRACEBACK
from mgr.command.dispatch import Request
from mgr.errors import OutcomeUnknownError, StoreUnavailableError, TooLargeError
from tests.support.fleet_declare import declare
from tests.unit.active.conftest import discovered_module
from tests.unit.active.probe import Probe

COUNTERS = [
    Counter(group="rgw", name="queue", description="Waiting", nick="q", priority=8),
    Counter(group="rgw", name="bytes", kind=Kind.COUNTER, unit=Unit.BYTES),
    Counter(group="rgw", name="wait", kind=Kind.AVERAGE, unit=Unit.SECONDS),
    Counter(group="pool", name="ops", kind=Kind.COUNTER, labels=(("pool", "x"),)),
    Counter(group="rgw", name="size", kind=Kind.HISTOGRAM, bounds=(1.0,)),
]


class FakeStream:
    """A stream that answers what it is told."""

    def __init__(self):
        self.wanted = []
        self.orders = []
        self.ended = None
        self.answer = DaemonAnswer(-errno.ENOENT, "data", "words")

    def configure(self, wanted):
        self.wanted.append(wanted)

    async def run_command(self, order, *, timeout_s):
        self.orders.append(order)
        return self.answer

    def end(self, error):
        self.ended = error


def join(fleet, ident="a", **more):
    """A daemon that has reported once; the daemon and its stream."""
    line = FakeStream()
    received = {
        "kind": "rgw",
        "id": ident,
        "host": "h1",
        "version": "1.2",
        "incarnation": "i",
    } | more
    daemon = fleet.open(OpenRequest(**received), line)
    declare(fleet, daemon, line, b"c", COUNTERS)
    fleet.report(daemon, line, [3.0, 1024.0, 1.5, 2.0, 9.0, 1.0, 4.0, 7.5])
    return daemon, line


async def test_a_module_reads_counters_in_the_shapes_of_ceph(cluster, run):
    """Types are Ceph's bits, seconds its nanoseconds; what has labels is read by labels."""
    join(cluster.role.fleet)

    schema = await run(lambda m: m.get_unlabeled_perf_schema("rgw", "a")["rgw.a"])
    points = await run(lambda m: m.get_counter("rgw", "a", "rgw.queue")["rgw.queue"])
    wait = await run(lambda m: m.get_latest_avg("rgw", "a", "rgw.wait"))
    ops = await run(lambda m: m.get_counter_latest("rgw", "a", "pool", "ops", [("pool", "x")]))
    every = await run(lambda m: m.get_unlabeled_perf_counters(services=("rgw",)))
    labelled = await run(lambda m: m._context.get_perf_schema("", "", labelled=True)["rgw.a"])

    assert schema["rgw.queue"] == {
        "description": "Waiting", "nick": "q", "type": 2, "priority": 8, "units": 1,
    }  # fmt: skip
    assert (schema["rgw.bytes"]["type"], schema["rgw.bytes"]["units"]) == (2 | 8, 0)
    assert schema["rgw.wait"]["type"] == 1 | 4
    assert schema["rgw.size"]["type"] == 2 | 0x10
    assert "pool.ops" not in schema
    assert [values for _, *values in points] == [[3.0]]
    assert wait == (1.5e9, 2.0)
    assert ops == 9.0
    assert every["rgw.a"]["rgw.wait"]["count"] == 2.0
    assert labelled["pool"] == [
        {"labels": {"pool": "x"}, "counters": {"ops": labelled["pool"][0]["counters"]["ops"]}}
    ]


async def test_a_module_reads_what_a_daemon_reports(cluster, run):
    """Beside the managers, by host."""
    fleet = cluster.role.fleet
    daemon, _ = join(fleet, metadata={"arch": "z80"})
    join(fleet, "b", host="h2")
    fleet.set_status(daemon, DaemonStatus(status={"mood": "glad"}))
    fleet.set_status(daemon, DaemonStatus(metrics=[Metric("SLOW_OPS", 2, "slow ops")]))

    servers = await run(lambda m: m.list_servers())
    metadata = await run(lambda m: m.get_metadata("rgw", "a"))
    status = await run(lambda m: [m.get_daemon_status("rgw", each) for each in ("a", "b", "c")])
    metrics = await run(lambda m: m.get_daemon_health_metrics())
    unknown = await run(lambda m: m.get_metadata("rgw", "c"))

    hosts = {each["hostname"]: [s["id"] for s in each["services"]] for each in servers}
    assert hosts == {"h1": ["a"], "h2": ["b"]}
    assert (metadata["arch"], metadata["hostname"]) == ("z80", "h1")
    assert metadata["ceph_version"] == "1.2"
    assert status == [{"mood": "glad"}, {}, None]
    assert metrics == {"rgw.a": [{"type": "SLOW_OPS", "value": 2}], "rgw.b": []}
    assert unknown is None


async def test_reading_a_counter_does_not_cross_to_the_loop(cluster, run):
    """It costs microseconds: a module may read thousands of them."""
    fleet = cluster.role.fleet
    daemon, line = join(fleet)
    for _ in range(20):
        daemon.ring.add(1.0, [0.0] * daemon.ring.schema.width)
    assert daemon.stream is line

    def measured(module):
        return min(
            timeit.repeat(lambda: module.get_counter("rgw", "a", "rgw.queue"), number=100, repeat=9)
        )

    # A generous limit: a crossing takes hundreds of microseconds.
    assert await run(measured) / 100 < 100e-6


async def test_who_joins_is_stored_and_awaited_by_the_next_active(cluster):
    """In few transactions, and only what changed."""
    fleet, prefix = cluster.role.fleet, cluster.keys.daemons
    for number in range(250):
        join(fleet, f"n{number}", metadata={"arch": "z80"})
    await cluster.until(lambda: len(cluster.mirror.list(prefix)) == 250)
    revision = cluster.mirror.revision

    successor = Fleet(CLOCK, ClusterLog(), term=8, name="mgr.b", on_refusal=print)
    FleetStore(successor, cluster.manager, cluster.role._fenced, lambda: None)

    assert revision - cluster.term < 20
    assert len(successor.daemons) == 250
    assert successor.filling
    assert successor.daemons["rgw.n7"].state is DaemonState.AWAITED
    assert successor.daemons["rgw.n7"].record.metadata == {"arch": "z80"}


async def test_who_leaves_is_removed_from_the_store(cluster):
    """By its own word or an operator's."""
    fleet, keys = cluster.role.fleet, cluster.keys
    (leaves, line), (stays, _) = join(fleet), join(fleet, "b")
    await cluster.until(lambda: len(cluster.mirror.list(keys.daemons)) == 2)

    fleet.close(leaves, line)
    refused = await cluster.ask("daemon", "rm", "rgw.b")
    fleet.on_stream_lost(stays, stays.stream)
    removed = await cluster.ask("daemon", "rm", "rgw.b")
    unknown = await cluster.ask("daemon", "rm", "rgw.b")
    await cluster.until(lambda: not cluster.mirror.list(keys.daemons))

    assert (refused.retval, removed.retval, unknown.retval) == (-errno.EPERM, 0, -errno.ENOENT)


async def test_a_daemon_that_comes_back_as_it_was_writes_nothing(cluster):
    """A failover of ten thousand is no storm on etcd."""
    fleet = cluster.role.fleet
    join(fleet)
    await cluster.until(lambda: cluster.mirror.get(cluster.keys.daemon("rgw.a")))
    record = cluster.mirror.get(cluster.keys.daemon("rgw.a"))

    join(fleet)
    # Somebody else's record is written behind whatever the first would have caused.
    join(fleet, "b")
    await cluster.until(lambda: cluster.mirror.get(cluster.keys.daemon("rgw.b")))

    assert cluster.mirror.get(cluster.keys.daemon("rgw.a")) == record
    assert decode(record.value).host == "h1"


async def test_options_reach_every_daemon_at_once(cluster):
    """A new period is sent to all streams, and the grace follows it."""
    fleet = cluster.role.fleet
    _, line = join(fleet)

    await cluster.ask("config", "set", "mgr", "mgr_stats_period", "7")
    await cluster.ask("config", "set", "mgr", "mgr_daemon_grace", "4")
    await cluster.until(lambda: line.wanted)

    assert line.wanted[-1].period_s == 7
    assert fleet.options.grace_s == 28


async def test_the_fleet_is_shown_in_health_and_in_a_document(active):
    """Metrics of daemons become checks; modules see whether the picture is full."""
    async with active(discovered_module("probe", Probe), enabled=["probe"]) as cluster:
        daemon, _ = join(cluster.role.fleet)
        cluster.role.fleet.set_status(
            daemon, DaemonStatus(metrics=[Metric("SLOW_OPS", 2, "slow ops")])
        )
        await cluster.until(lambda: "SLOW_OPS" in cluster.role._board.checks)
        await cluster.until(lambda: cluster.role._publisher.documents.get("fleet_status")["known"])

        document = cluster.role._publisher.documents.get("fleet_status")
        health = await cluster.health()

    assert health["SLOW_OPS"]["summary"]["message"] == "2 slow ops, daemons [rgw.a]"
    assert document == {
        "filling": False, "known": 1, "reporting": 1, "awaited": 0, "silent": 0,
    }  # fmt: skip


async def test_a_daemon_gets_a_command_by_name(cluster):
    """Its answer is the command's; typed arguments and options are its own."""
    fleet = cluster.role.fleet
    _, line = join(fleet, "eu.1")
    gone, stream = join(fleet, "gone")
    fleet.on_stream_lost(gone, stream)

    answer = await cluster.ask("tell", "rgw.eu.1", "cache", "drop", "--force", count=3)
    away = await cluster.ask("tell", "rgw.gone", "x")
    unknown = await cluster.ask("tell", "rgw.nobody", "x")

    assert (answer.retval, answer.stdout, answer.stderr) == (-errno.ENOENT, "data", "words")
    [order] = line.orders
    assert (order.words, order.arguments) == (["cache", "drop", "--force"], {"count": 3})
    assert away.retval == -errno.EHOSTUNREACH
    assert away.stderr.startswith("rgw.gone is not connected; last report: 20")
    assert (unknown.retval, unknown.stderr) == (-errno.ENOENT, "there is no daemon 'rgw.nobody'")


async def test_the_traceback_of_a_daemon_is_shown_to_administrators_only(cluster):
    """It names files of that host. What else a daemon answers is passed on."""
    _, line = join(cluster.role.fleet)
    await cluster.put(cluster.keys.access_of("ada"), "allow rw")
    tell = Request(words=("tell", "rgw.a", "x"), arguments={}, caller=Caller("ada", "127.0.0.1"))

    words = (await cluster.role.execute(replace(tell, request_id="1" * 32))).stderr
    line.answer = DaemonAnswer(-errno.EINVAL, "", f"{TRACEBACK}:\n  File /srv/secret.py")
    hidden = await cluster.role.execute(replace(tell, request_id="2" * 32))
    shown = await cluster.ask("tell", "rgw.a", "x")

    assert words == "words"
    assert (hidden.retval, hidden.stderr) == (
        -errno.EINVAL,
        "rgw.a failed at this command; administrators are shown its traceback",
    )
    assert shown.stderr == line.answer.stderr


async def test_daemons_nodes_and_services_are_listed(cluster):
    """In Ceph's words where it has any."""
    fleet = cluster.role.fleet
    daemon, _ = join(fleet)
    join(fleet, "b", host="h2")
    fleet.set_status(daemon, DaemonStatus(status={"mood": "glad"}))

    shown = (await cluster.ask("daemon", "ls", "rgw", "--host=h1")).stdout.splitlines()
    nodes, status, dump = [
        json.loads((await cluster.ask(*words, format="json")).stdout)
        for words in (("node", "ls", "rgw"), ("service", "status"), ("service", "dump"))
    ]

    assert shown[0].split() == ["NAME", "HOST", "STATE", "VERSION", "LAST", "REPORT"]
    assert shown[1].split()[:4] == ["rgw.a", "h1", "reporting", "1.2"]
    assert len(shown) == 2
    assert nodes == {"h1": ["a"], "h2": ["b"]}
    assert status["rgw"]["a"]["status"] == {"mood": "glad"}
    assert "services" in dump


async def test_a_silent_store_delays_the_record_of_a_daemon_and_loses_none(cluster, monkeypatch):
    """Daemons are let in meanwhile: what they count needs no store."""
    monkeypatch.setattr("mgr.active.fleet.store.RETRY_AFTER_S", 0.0)
    fleet, keys = cluster.role.fleet, cluster.keys
    refusals = [StoreUnavailableError("silent"), OutcomeUnknownError("silent")]
    commit = cluster.role._fenced.commit

    async def moody(operations, when=(), *, timeout_s=None):
        if refusals:
            raise refusals.pop()
        return await commit(operations, when, timeout_s=timeout_s)

    monkeypatch.setattr(cluster.role._fenced, "commit", moody)
    for number in range(120):
        join(fleet, f"n{number}")

    await cluster.until(lambda: len(cluster.mirror.list(keys.daemons)) == 120)
    assert refusals == []


async def test_a_record_that_the_store_refuses_costs_no_other_daemon_its_own(cluster, monkeypatch):
    """A hundred are written together; if that is refused, each is written for itself."""
    monkeypatch.setattr("mgr.active.fleet.store.GATHER_S", 0.0)
    fleet, keys = cluster.role.fleet, cluster.keys
    commit, refused = cluster.role._fenced.commit, []

    async def strict(operations, when=(), *, timeout_s=None):
        if any(each.key == keys.daemon("rgw.n7") for each in operations):
            refused.append(len(operations))
            raise TooLargeError("too large")
        return await commit(operations, when, timeout_s=timeout_s)

    monkeypatch.setattr(cluster.role._fenced, "commit", strict)
    for number in range(20):
        join(fleet, f"n{number}")

    await cluster.until(lambda: len(cluster.mirror.list(keys.daemons)) == 19)
    await cluster.until(lambda: len(refused) > 1)
    join(fleet, "later")
    await cluster.until(lambda: cluster.mirror.get(keys.daemon("rgw.later")) is not None)
    assert refused[-1] == 1
    assert "rgw.n7" in fleet.daemons
