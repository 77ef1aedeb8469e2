"""The fleet: who is there, who is silent, who is forgotten, as time passes."""

import msgspec
import pytest

from mgr.cluster.counters import Counter, Kind
from mgr.cluster.daemon import DaemonState, DaemonStatus, Device, Metric, OpenRequest, ReportConfig
from mgr.cluster.daemon_record import DaemonRecord, decode, encode
from mgr.cluster.fleet import NAME_CONFLICT_SHOWN_S, SILENCE_WRITES, Fleet
from mgr.cluster.fleet_options import FleetOptions
from mgr.cluster.log import ClusterLog
from mgr.cluster.validation import MESSAGES_AT_ONCE
from mgr.errors import (
    DeadlineExceededError,
    ReplacedError,
    ReportLimitError,
    ReportRefusedError,
)
from tests.support.clock import ManualClock
from tests.support.fleet_declare import declare

PERIOD_S = 5
GRACE_S = 3 * PERIOD_S


class FakeStream:
    """A stream that records what was sent to it."""

    def __init__(self):
        self.wanted = []
        self.ended = None

    def configure(self, wanted):
        self.wanted.append(wanted)

    def end(self, error):
        self.ended = error


def member(host="h1"):
    return DaemonRecord(
        host=host, version="1", metadata={"arch": "z80"}, since="2026-01-01T00:00:00"
    )


def opening(ident="a", **more):
    return OpenRequest(**({"kind": "rgw", "id": ident, "host": "h1", "incarnation": "i1"} | more))


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def cluster_log():
    return ClusterLog()


@pytest.fixture
def fleet(clock, cluster_log):
    fleet = Fleet(clock, cluster_log, term=7, name="mgr.a", on_refusal=lambda _: None)
    fleet.options = FleetOptions(report_config=ReportConfig(period_s=PERIOD_S), prune_s=3600)
    return fleet


def lines(log):
    return [entry.message for entry in log.last(100)]


def test_a_daemon_is_silent_once_its_grace_has_passed_and_not_before(fleet, clock, cluster_log):
    """Said once; when it reports again, that is said, too."""
    line = FakeStream()
    daemon = fleet.open(opening(), line)
    clock.advance(GRACE_S)
    fleet.update_states()
    assert daemon.state is DaemonState.REPORTING

    clock.advance(0.1)
    fleet.update_states()
    fleet.update_states()
    assert (daemon.state, fleet.health.silent) == (DaemonState.SILENT, {"rgw.a": "h1"})

    fleet.report(daemon, line, [])
    fleet.update_states()
    assert (daemon.state, fleet.health.silent) == (DaemonState.REPORTING, {})
    assert lines(cluster_log) == ["rgw.a is silent", "rgw.a is reporting again"]


def test_a_stream_that_ends_leaves_a_daemon_its_grace(fleet, clock):
    """A connection that breaks for a second is not logged."""
    line = FakeStream()
    daemon = fleet.open(opening(), line)
    fleet.on_stream_lost(daemon, line)

    clock.advance(GRACE_S)
    fleet.update_states()
    assert daemon.state is DaemonState.REPORTING
    clock.advance(1)
    fleet.update_states()
    assert daemon.state is DaemonState.SILENT


def test_a_daemon_that_is_silent_for_too_long_is_forgotten(fleet, clock):
    """Its record goes, and a stream that it may still have ends."""
    gone = []
    line = FakeStream()
    fleet.open(opening(), line)
    fleet.on_record_change(gone.append)

    clock.advance(3601)
    fleet.update_states()

    assert fleet.daemons == {}
    assert gone == ["rgw.a"]
    assert isinstance(line.ended, DeadlineExceededError)


def test_silence_goes_on_counting_under_the_next_active(clock, cluster_log):
    """However often the active changes, who is gone for good is forgotten some day."""
    stored, terms = {"rgw.a": member(), "rgw.b": member()}, 0
    passed_s = 0
    while "rgw.b" in stored:
        terms += 1
        fleet = Fleet(clock, cluster_log, term=terms, name="mgr.a", on_refusal=lambda _: None)
        fleet.options = FleetOptions(report_config=ReportConfig(period_s=PERIOD_S), prune_s=3600)
        fleet.expect({name: decode(encode(each)) for name, each in stored.items()})
        alive = fleet.open(opening(), line := FakeStream())
        for _ in range(100):
            clock.advance(10)
            passed_s += 10
            fleet.report(alive, line, [])
            fleet.update_states()
            # What the store has of it, whatever this active has in mind.
            stored = {name: daemon.record for name, daemon in fleet.daemons.items()}
        assert terms < 10

    assert 3600 <= passed_s <= 3600 + terms * (3600 / SILENCE_WRITES + GRACE_S + 1000)
    assert stored["rgw.a"].silent_s == 0


def test_who_was_silent_is_silent_at_once_after_a_failover(fleet, clock, cluster_log):
    """It is not awaited: the picture is full without it, and health goes on naming it."""
    fleet.expect({"rgw.a": member(), "rgw.b": msgspec.structs.replace(member(), silent_s=60.0)})
    fleet.open(opening("a"), FakeStream())
    fleet.update_states()

    assert not fleet.filling
    assert fleet.health.silent == {"rgw.b": "h1"}
    assert lines(cluster_log) == []

    changed = []
    fleet.on_record_change(changed.append)
    back = fleet.open(opening("b"), FakeStream())
    fleet.update_states()
    assert (back.state, back.record.silent_s, set(changed)) == (DaemonState.REPORTING, 0, {"rgw.b"})
    assert lines(cluster_log) == ["rgw.b is reporting again"]


def test_how_long_a_daemon_is_silent_is_written_now_and_then(fleet, clock):
    """Not with every look: ten thousand may be silent."""
    fleet.open(opening(), FakeStream())
    changed = []
    fleet.on_record_change(changed.append)
    generation = fleet.generation
    for _ in range(3500):
        clock.advance(1)
        fleet.update_states()

    assert len(changed) == SILENCE_WRITES
    assert fleet.generation == generation


def test_after_a_failover_the_fleet_is_awaited_before_it_is_missed(fleet, clock):
    """While it fills, nobody who was there before is called silent."""
    fleet.expect({"rgw.a": member(), "rgw.b": member()})
    assert fleet.filling
    assert fleet.daemons["rgw.a"].state is DaemonState.AWAITED

    clock.advance(0.5)
    fleet.open(opening("a"), FakeStream())
    clock.advance(GRACE_S)
    fleet.update_states()
    assert fleet.filling
    assert fleet.health.silent == {}
    assert fleet.as_document() == {
        "filling": True, "known": 2, "reporting": 1, "awaited": 1, "silent": 0,
    }  # fmt: skip

    clock.advance(fleet.rejoin_within_s)
    fleet.update_states()
    assert not fleet.filling
    assert "rgw.b" in fleet.health.silent


def test_the_picture_is_full_as_soon_as_everybody_is_back(fleet):
    """Not only when the limit passes."""
    fleet.expect({"rgw.a": member()})
    fleet.open(opening(), FakeStream())

    assert not fleet.filling


def test_a_daemon_removed_while_it_is_awaited_is_awaited_no_longer(fleet):
    """Or the picture would fill until the limit."""
    fleet.expect({"rgw.a": member()})

    assert fleet.forget("rgw.a")
    assert not fleet.filling
    assert not fleet.forget("rgw.a")


def test_what_a_daemon_says_of_itself_is_reported_when_it_changed(fleet):
    """A fleet that comes back unchanged writes nothing."""
    changed = []
    fleet.expect({"rgw.a": member()})
    fleet.on_record_change(changed.append)

    fleet.open(opening(version="1", metadata={"arch": "z80"}), FakeStream())
    assert changed == []
    fleet.open(opening(version="2", metadata={"arch": "z80"}), FakeStream())
    assert changed == ["rgw.a"]
    assert fleet.daemons["rgw.a"].record.since == "2026-01-01T00:00:00"


def test_a_contest_over_a_name_is_shown_for_a_while(fleet, clock):
    """The newer session has the name, and the older stream changes nothing any more."""
    older, newer = FakeStream(), FakeStream()
    daemon = fleet.open(opening(incarnation="i1"), older)
    fleet.open(opening(incarnation="i2"), newer)
    fleet.update_states()
    assert fleet.health.duplicate_names == ("rgw.a",)
    assert isinstance(older.ended, ReplacedError)

    with pytest.raises(ReplacedError):
        fleet.report(daemon, older, [])
    fleet.close(daemon, older)
    fleet.on_stream_lost(daemon, older)
    assert daemon.stream is newer

    with pytest.raises(ReplacedError):
        fleet.open(opening(incarnation="i1"), FakeStream())
    assert daemon.stream is newer

    clock.advance(NAME_CONFLICT_SHOWN_S + 1)
    fleet.update_states()
    assert fleet.health.duplicate_names == ()
    fleet.open(opening(incarnation="i1"), FakeStream())


def test_another_start_of_the_program_counts_from_nothing(fleet):
    """Points of two lives in one series would show counters that fall."""
    line = FakeStream()
    daemon = fleet.open(opening(), line)
    counters = [Counter(group="g", name="n")]
    declare(fleet, daemon, line, b"x", counters)
    fleet.report(daemon, line, [1.0])
    fleet.set_status(daemon, DaemonStatus(status={"mood": "glad"}))
    schema = daemon.ring.schema

    again = FakeStream()
    fleet.open(opening(incarnation="i2"), again)
    declare(fleet, daemon, again, b"x", counters)

    assert daemon.ring.schema is schema
    assert daemon.ring.points(schema.slots[0]) == []
    assert daemon.status == {}


def test_reports_that_come_too_fast_are_refused(fleet, clock):
    """Some at once are fine, and four a period for ever."""
    line = FakeStream()
    daemon = fleet.open(opening(), line)
    for _ in range(100):
        clock.advance(PERIOD_S / 4)
        fleet.report(daemon, line, [])
    for _ in range(MESSAGES_AT_ONCE - 1):
        fleet.report(daemon, line, [])
    with pytest.raises(ReportLimitError, match="every 5 s were asked for"):
        fleet.report(daemon, line, [])


def test_a_grace_that_became_shorter_begins_when_it_did(fleet, clock):
    """Daemons that report every minute are not silent because somebody wants them every second."""
    fleet.set_options(FleetOptions(report_config=ReportConfig(period_s=60)))
    daemon = fleet.open(opening(), FakeStream())
    clock.advance(50)

    fleet.set_options(FleetOptions(report_config=ReportConfig(period_s=1)))
    fleet.update_states()
    assert daemon.state is DaemonState.REPORTING
    clock.advance(3.1)
    fleet.update_states()
    assert daemon.state is DaemonState.SILENT


def test_who_reads_counters_is_notified_of_each_declaration(fleet):
    """When they can be read; one that changes nothing is none."""
    seen = []
    fleet.on_declared = lambda: seen.append(
        [slot.counter.name for slot in fleet.daemons["rgw.a"].ring.schema.slots]
    )
    line = FakeStream()
    daemon = fleet.open(opening(), line)
    del seen[:]

    for names in ("n", "n", "no"):
        declare(fleet, daemon, line, names.encode(), [Counter(group="g", name=n) for n in names])

    assert seen == [["n"], ["n", "o"]]


def test_a_row_may_not_be_too_wide(fleet):
    """A few histograms are as much memory as many counters."""
    fleet.set_options(FleetOptions(counters_max=10))
    line = FakeStream()
    daemon = fleet.open(opening(), line)
    wide = Counter(group="g", name="h", kind=Kind.HISTOGRAM, bounds=tuple(map(float, range(19))))

    with pytest.raises(ReportLimitError, match="21 values"):
        declare(fleet, daemon, line, b"x", [wide])
    assert daemon.ring.schema.slots == ()


def test_many_that_come_back_are_one_line(fleet, clock, cluster_log):
    """The cluster log holds a thousand."""
    streams = [
        (fleet.open(opening(f"n{each:02}"), line := FakeStream()), line) for each in range(12)
    ]
    clock.advance(GRACE_S + 1)
    fleet.update_states()
    for daemon, line in streams:
        fleet.report(daemon, line, [])
    fleet.update_states()

    [silent, back] = lines(cluster_log)
    assert silent.startswith("rgw.n00, rgw.n01,")
    assert back.endswith("rgw.n09 and 2 more are reporting again")


def test_there_is_room_for_so_many_daemons(fleet):
    """One more is refused; one who is known is not."""
    fleet.options = FleetOptions(daemons_max=1)
    fleet.open(opening("a"), FakeStream())

    with pytest.raises(ReportLimitError, match="1 daemons are known"):
        fleet.open(opening("b"), FakeStream())
    fleet.open(opening("a"), FakeStream())


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"kind": "mgr"}, "name"),
        ({"kind": "a.b"}, "name"),
        ({"kind": ""}, "name"),
        ({"id": ""}, "name"),
        ({"id": "a b"}, "name"),
        ({"id": "a/b"}, "name"),
        ({"id": "a\x07"}, "name"),
        ({"id": "a" * 129}, "name"),
        ({"host": "h\n"}, "text"),
        ({"version": "v" * 256}, "text"),
        ({"metadata": {"k": "\x1b[2J"}}, "texts"),
        ({"metadata": {"k": "v" * 20_000}}, "texts"),
        ({"commands": ["x"] * 257}, "commands"),
    ],
)
def test_who_says_what_cannot_be_is_not_let_in(fleet, more, rule):
    """Nothing of him is kept."""
    with pytest.raises(ReportRefusedError) as refused:
        fleet.open(opening(**more), FakeStream())

    assert refused.value.rule == rule
    assert fleet.daemons == {}


def test_health_metrics_are_gathered_by_name(fleet, clock):
    """Of those that are here: a silent daemon's number is old."""
    here, silent = FakeStream(), FakeStream()
    fleet.set_status(
        fleet.open(opening("b"), silent), DaemonStatus(metrics=[Metric("SLOW_OPS", 5, "slow ops")])
    )
    clock.advance(GRACE_S + 1)
    daemon = fleet.open(opening("a"), here)
    fleet.set_status(
        daemon,
        DaemonStatus(metrics=[Metric("SLOW_OPS", 3, "slow ops"), Metric("NONE_AT_ALL", 0, "")]),
    )
    fleet.update_states()

    assert fleet.health.metrics == {"SLOW_OPS": (("rgw.a", daemon.metrics[0]),)}


@pytest.mark.parametrize("code", ["slow", "MGR_DOWN", "", "A" * 64])
def test_a_health_metric_takes_no_name_that_it_should_not(fleet, code):
    """Those of the manager's own checks, for one."""
    daemon = fleet.open(opening(), FakeStream())
    with pytest.raises(ReportRefusedError):
        fleet.set_status(daemon, DaemonStatus(metrics=[Metric(code, 1, "x")]))


def test_generations_grow_with_what_they_stand_for(fleet):
    """Documents made of the fleet are rebuilt only then."""
    line = FakeStream()
    daemon = fleet.open(opening(), line)
    disk = Device(id="ACME", name="sda", path="")

    def seen():
        return fleet.generation, fleet.tasks_generation, fleet.devices_generation

    generation, tasks, devices = seen()
    fleet.report(daemon, line, [], DaemonStatus(status={"a": "b"}, task_status={}, devices=[]))
    assert seen() == (generation, tasks, devices)
    fleet.report(daemon, line, [], DaemonStatus(task_status={"sync": "half"}))
    assert seen() == (generation, tasks + 1, devices)
    fleet.report(daemon, line, [], DaemonStatus(devices=[disk]))
    fleet.report(daemon, line, [], DaemonStatus(devices=[disk]))
    assert seen() == (generation, tasks + 1, devices + 1)
    fleet.close(daemon, line)
    assert fleet.generation == generation + 1


def test_of_a_report_that_is_refused_nothing_is_kept(fleet):
    """Neither its values nor the part of what it says that was well."""
    line = FakeStream()
    daemon = fleet.open(opening(), line)
    declare(fleet, daemon, line, b"x", [Counter(group="g", name="n")])
    wrong = DaemonStatus(status={"a": "b"}, metrics=[Metric("lower", 1, "x")])

    with pytest.raises(ReportRefusedError, match="health metric 'lower'"):
        fleet.report(daemon, line, [42.0], wrong)

    assert daemon.ring.points(daemon.ring.schema.slots[0]) == []
    assert (daemon.status, daemon.metrics, daemon.reported_at) == ({}, (), None)


def test_a_daemon_stays_in_the_service_map_for_a_while(fleet, clock):
    """Silent is not gone: an address is worth knowing for as long as the option says."""
    fleet.options = FleetOptions(report_config=ReportConfig(period_s=PERIOD_S), beacon_grace_s=60)
    daemon = fleet.open(opening(), FakeStream())
    clock.advance(60)
    fleet.update_states()
    assert (daemon.state, fleet.absent) == (DaemonState.SILENT, frozenset())

    clock.advance(1)
    fleet.update_states()
    assert fleet.absent == {"rgw.a"}
    fleet.open(opening(), FakeStream())
    fleet.update_states()
    assert fleet.absent == frozenset()


def test_a_fleet_takes_no_more_values_than_there_is_memory_for(fleet):
    """Who comes beyond that is refused by name of the option; who leaves makes room."""
    fleet.options = FleetOptions(values_max=5)
    counters = [Counter(group="g", name=f"n{number}") for number in range(3)]
    first, line = fleet.open(opening("a"), one := FakeStream()), FakeStream()
    declare(fleet, first, one, b"x", counters)
    second = fleet.open(opening("b"), line)

    with pytest.raises(ReportLimitError, match="mgr_fleet_values_max allows 5") as refused:
        declare(fleet, second, line, b"x", counters)
    assert (refused.value.rule, fleet.values) == ("fleet", 3)

    # With replace, it takes the place of what was declared before.
    declare(fleet, first, one, b"y", counters[:2])
    declare(fleet, second, line, b"x", counters)
    assert fleet.values == 5
    fleet.forget("rgw.b")
    fleet.open(opening("a", incarnation="i2"), FakeStream())
    assert fleet.values == 0


def test_every_end_that_was_not_meant_is_counted(clock, cluster_log):
    """By the rule that was broken, or by what happened."""
    rules = []
    fleet = Fleet(clock, cluster_log, term=7, name="mgr.a", on_refusal=rules.append)

    fleet.on_stream_ended(ReportRefusedError("name", "no"))
    fleet.on_stream_ended(ReplacedError("no"))

    fleet.on_stream_broken()

    assert rules == ["name", "replaced", "broke_off"]


def test_a_large_fleet_is_asked_to_spread_its_return(fleet):
    """A thousand a second."""
    assert fleet.rejoin_within_s == 1
    fleet.expect({f"rgw.{number}": member() for number in range(10_000)})
    assert fleet.rejoin_within_s == 10


def test_a_member_is_the_same_after_it_was_stored():
    """And what cannot be read is nobody."""
    assert decode(encode(member())) == member()
    assert decode("{]") is None
