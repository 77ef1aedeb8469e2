"""Invalid values are refused where they are set; the manager accepts all that passes there."""

from __future__ import annotations

import asyncio

import pytest

from mgr.client.daemon.counters import SERIES_MAX, Average, Counter, Gauge, Histogram
from mgr.client.daemon.program import Program
from mgr.client.daemon.reported_state import Device
from mgr.client.daemon.reporter import Reporter
from mgr.cluster.counters import Schema
from mgr.cluster.fleet_options import FleetOptions
from mgr.cluster.validation import (
    check_count,
    check_width,
    checked_daemon_status,
    checked_name,
    checked_text,
    checked_texts,
)
from mgr.config.manager_options import COUNTERS_MAX, SETTABLE
from mgr.errors import InvalidArgumentError, ReportRefusedError
from mgr.report_limits import is_id, is_kind
from mgr.rpc.fleet_codec import counters_in, daemon_status_in

HALF = "\ud800"
"""A lone surrogate: no text that can be sent."""


def program(type="web", id="eu-1", *, host="h", version="", metadata=None):  # noqa: A002 - the product's names
    return Program(type, id, host=host, version=version, metadata=metadata, on_replaced=None)


def reported(made):
    """The first messages to a new manager, through the manager's own rules."""
    reporter = Reporter(made.counters, made.reported_state)
    declared = reporter.declare()
    if declared is not None:
        counters = asyncio.run(counters_in(declared))
        check_count(Schema(()), len(counters), FleetOptions().counters_max)
        schema = Schema(counters)
        check_width(schema, FleetOptions().counters_max)
    report = reporter.report()
    report.SerializeToString()
    if declared is not None:
        schema.check(report.values)
    status = daemon_status_in(report)
    return None if status is None else checked_daemon_status(status)


TAKEN = {
    "status": lambda p: p.status.update(a="x" * 16383),
    "lines": lambda p: p.status.update(a="1\n2\t3\r", b="täglich"),
    "tasks": lambda p: p.task_status.update(a="ä" * 8191),
    "metric": lambda p: p.health_metric("A" * 63, 2**64 - 1, "x" * 255),
    "metrics": lambda p: [p.health_metric(f"M{n}", 1) for n in range(32)],
    "devices": lambda p: p.devices(Device(f"d{n}", wear_level=1) for n in range(512)),
    "device": lambda p: p.devices([Device("x" * 255, "y" * 255, daemons=["web.1"] * 512)]),
    "bounds": lambda p: p.histogram("h", bounds=range(64)),
    "labels": lambda p: p.counter("c", {f"l{n}": "x" * 999 for n in range(16)}),
    "described": lambda p: p.gauge("g", nick="n" * 255, description="d" * 1024, priority=10),
    "names": lambda p: p.gauge("n" * 128, group="g" * 128),
    "values": lambda p: [p.histogram(f"h{n}", bounds=range(64)) for n in range(310)],
    "series": lambda p: [p.average(f"a{n}") for n in range(SERIES_MAX + 5)],
}

REFUSED = {
    "control": ("status", lambda p: p.status.update(a="\x1b[31m")),
    "control in a name": ("status", lambda p: p.status.update({"a\0": ""})),
    "half": ("status", lambda p: p.status.update(a=HALF)),
    "long": ("16384", lambda p: p.status.update(a="x" * 16384)),
    "tasks": ("task status", lambda p: p.task_status.update(a="\0")),
    "metric's name": ("health metric", lambda p: p.health_metric("A" * 64, 1)),
    "ours": ("MGR_", lambda p: p.health_metric("MGR_DOWN", 1)),
    "summary": ("255", lambda p: p.health_metric("SLOW", 1, "x" * 256)),
    "summary's half": ("SLOW", lambda p: p.health_metric("SLOW", 1, HALF)),
    "value": ("64", lambda p: p.health_metric("SLOW", 2**64)),
    "negative": ("SLOW", lambda p: p.health_metric("SLOW", -1)),
    "nan": ("SLOW", lambda p: p.health_metric("SLOW", float("nan"))),
    "infinite": ("SLOW", lambda p: p.health_metric("SLOW", float("inf"))),
    "worn": ("wear level", lambda p: p.devices([Device("d", wear_level=2)])),
    "worn by nan": ("wear level", lambda p: p.devices([Device("d", wear_level=float("nan"))])),
    "nameless": ("id", lambda p: p.devices([Device("")])),
    "device": ("255", lambda p: p.devices([Device("d", path="x" * 256)])),
    "one daemon": ("daemons", lambda p: p.devices([Device("d", daemons="web.1")])),
    "devices": ("512", lambda p: p.devices([Device(str(n)) for n in range(513)])),
    "bounds": ("64", lambda p: p.histogram("h", bounds=range(100))),
    "labels": ("16", lambda p: p.counter("c", {f"l{n}": "" for n in range(17)})),
    "nick": ("nick", lambda p: p.counter("c", nick="n" * 300)),
    "nick's half": ("nick", lambda p: p.counter("c", nick=HALF)),
    "description": ("1024", lambda p: p.counter("c", description="d" * 1025)),
    "description's half": ("description", lambda p: p.counter("c", description=HALF)),
    "priority": ("priority", lambda p: p.counter("c", priority=-1)),
    "help": ("command", lambda p: p.command("drop", HALF)(lambda: "")),
}


@pytest.mark.parametrize("set_value", TAKEN.values(), ids=TAKEN)
def test_what_a_program_can_set_a_manager_accepts(set_value):
    """Up to the last character of each limit."""
    made = program()

    set_value(made)

    reported(made)


@pytest.mark.parametrize(("named", "set_value"), REFUSED.values(), ids=REFUSED)
def test_what_a_manager_would_refuse_is_refused_at_the_call(named, set_value):
    """The error names the thing or its limit; nothing of it is kept."""
    made, other = program(), program()

    with pytest.raises(InvalidArgumentError, match=named):
        set_value(made)

    assert reported(made) == reported(other)
    assert made.counters.live() == []
    assert made.handlers.descriptions() == []


def test_one_too_many_is_refused_and_the_others_stay():
    """Of health metrics, of commands; what is there may change, what goes makes room."""
    made = program()
    for number in range(32):
        made.health_metric(f"M{number}", 1)
    for number in range(256):
        made.command(f"drop{number}")(lambda: "")

    with pytest.raises(InvalidArgumentError, match="32 others"):
        made.health_metric("M32", 1)
    with pytest.raises(InvalidArgumentError, match="at most 256 commands"):
        made.command("one more")

    made.health_metric("M0", 2)
    made.command("drop0")(lambda: "x")
    made.health_metric("M1", 0)
    made.health_metric("M32", 1)
    assert len(made.reported_state.metrics) == 32


def test_texts_that_go_make_room():
    """The limit is for the present texts only."""
    made = program()
    for _ in range(3):
        made.status["a"] = "x" * 10_000
        made.status["a"] = "y" * 12_000
        del made.status["a"]

    made.status["b"] = "z" * 16_000
    with pytest.raises(InvalidArgumentError):
        made.status["c"] = "z" * 1_000

    assert dict(made.status) == {"b": "z" * 16_000}


@pytest.mark.parametrize(
    ("kind", "ident"),
    [("mgr", "x"), ("web", "a b"), ("web", ""), ("we.b", "x"), ("w" * 65, "x"), ("web", "x" * 129)],
)
def test_a_name_that_no_daemon_may_have_is_refused(kind, ident):
    """By both sides."""
    with pytest.raises(InvalidArgumentError, match="invalid daemon name"):
        program(kind, ident)
    with pytest.raises(ReportRefusedError):
        checked_name(kind, ident)
    assert not (is_kind(kind) and is_id(ident))


@pytest.mark.parametrize(
    "how",
    [
        {"host": "h" * 256},
        {"version": "1\n"},
        {"metadata": {"a": "x" * 16_384}},
        {"metadata": {"a": HALF}},
    ],
    ids=["host", "version", "metadata", "half"],
)
def test_an_introduction_that_cannot_be_is_refused(how):
    """Before anything is sent."""
    with pytest.raises(InvalidArgumentError, match=next(iter(how))):
        program(**how)


def test_the_longest_introduction_is_taken():
    """As above, to the last character."""
    made = program("w" * 64, "x" * 128, host="h" * 255, metadata={"a": "x" * 16_383}).identity

    checked_name(made.type, made.id)
    checked_text("host", made.host)
    checked_texts("metadata", made.metadata)


def test_values_beyond_the_limit_count_and_are_not_reported(caplog):
    """Histograms have many; that is logged once."""
    made = program()

    for number in range(310):
        made.histogram(f"h{number}", bounds=range(64)).observe(1)

    assert sum(each.width for each in made.counters.live()) <= 2 * SERIES_MAX
    assert [each.values_max for each in caplog.records] == [2 * SERIES_MAX]


@pytest.mark.parametrize("kind", [Counter, Gauge, Average, Histogram])
def test_the_width_of_a_counter_is_the_number_of_its_values(kind):
    """By which the limit goes."""
    made = program().counters.get(kind, "x", **({"bounds": (1.0,)} if kind is Histogram else {}))

    assert made.width == len(made.read())


def test_sums_never_become_infinite():
    """A manager would refuse every further report."""
    made = program()
    for _ in range(2):
        made.counter("c").inc(1e308)
        made.gauge("g").inc(1e308)
        made.average("a").observe(1e308)
        made.histogram("h", bounds=[1]).observe(1e308)

    reported(made)

    assert made.average("a").read() == (1e308, 1)


def test_the_managers_begin_with_the_same_number_of_counters():
    """A daemon is refused by none that nobody has configured."""
    (spec,) = [each for each in SETTABLE if each.name == COUNTERS_MAX]

    assert spec.default == FleetOptions().counters_max == SERIES_MAX
