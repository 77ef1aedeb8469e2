"""What one stream declares, and when it declares all again."""

from __future__ import annotations

import pytest

from mgr.client.daemon.counters import Counter, Counters, Histogram
from mgr.client.daemon.reported_state import Device, ReportedState
from mgr.client.daemon.reporter import REMOVED_REPORTS_MAX, Reporter
from mgr.report_limits import COUNTERS_MAX


@pytest.fixture
def counters():
    return Counters("web")


@pytest.fixture
def state():
    return ReportedState()


@pytest.fixture
def reporter(counters, state):
    return Reporter(counters, state)


def declaration(reporter):
    """The paths that are declared now, and whether instead of all before; None if nothing."""
    message = reporter.declare()
    return message and (message.replace, [each.labels["n"] for each in message.counters])


def make(counters, *numbers):
    return [counters.get(Counter, "requests", {"n": str(each)}) for each in numbers]


def test_what_is_declared_is_in_the_order_of_the_values(reporter, counters):
    """Else a manager would show one counter as another."""
    counters.get(Counter, "first").inc(1)
    counters.get(Histogram, "sizes", bounds=(1.0,)).observe(5)
    reporter.declare()
    counters.get(Counter, "last").inc(2)
    declared = reporter.declare()

    assert [each.name for each in declared.counters] == ["last"]
    assert list(reporter.report().values) == [1, 0, 1, 5, 2]


def test_without_counters_nothing_is_declared(reporter):
    """A program may have nothing but a status."""
    assert reporter.declare() is None
    assert list(reporter.report().values) == []


def test_values_are_those_that_were_declared(reporter, counters):
    """A counter made between the two is in the next report."""
    make(counters, 1)
    reporter.declare()
    make(counters, 2)

    assert len(reporter.report().values) == 1


def test_many_removed_ones_make_a_new_declaration(reporter, counters):
    """One of many keeps its last value for a while: a declaration costs more."""
    series = make(counters, *range(16))
    assert declaration(reporter)[0]

    series[0].remove()
    assert declaration(reporter) is None
    assert len(reporter.report().values) == 16

    for each in series[1:4]:
        each.remove()
    assert declaration(reporter) == (True, [str(n) for n in range(4, 16)])
    assert len(reporter.report().values) == 12


def test_a_removed_one_is_gone_after_a_while(reporter, counters):
    """At the latest after a dozen reports."""
    series = make(counters, *range(16))
    declaration(reporter)
    series[0].remove()

    declarations = [declaration(reporter) for _ in range(REMOVED_REPORTS_MAX + 1)]

    assert declarations[:-1] == [None] * REMOVED_REPORTS_MAX
    assert declarations[-1] == (True, [str(n) for n in range(1, 16)])


def test_removed_ones_leave_room_before_new_ones_are_declared(reporter, counters):
    """The manager counts all that was declared, and it has a limit."""
    series = make(counters, *range(COUNTERS_MAX))
    declaration(reporter)
    series[0].remove()
    assert declaration(reporter) is None

    make(counters, "new")

    replaces, declared = declaration(reporter)
    assert replaces
    assert len(declared) == COUNTERS_MAX
    assert declared[-1] == "new"


def test_the_last_one_can_be_removed(reporter, counters):
    """The manager gets an empty declaration."""
    (only,) = make(counters, 1)
    declaration(reporter)
    only.remove()

    assert declaration(reporter) == (True, [])


def test_reports_are_numbered_from_one(reporter):
    """A manager sees what it has missed."""
    assert [reporter.report().sequence for _ in range(3)] == [1, 2, 3]


def test_unchanged_state_is_sent_once_and_empty_state_not_at_all(reporter, state):
    """A field that is present replaces what was sent before."""
    quiet = reporter.report()
    state.devices = [Device("ACME_1", "sda", wear_level=0.5)]
    state.task_status["scrub"] = 3
    changed = reporter.report()
    state.devices = [Device("ACME_1", "sda", wear_level=0.5)]
    state.task_status["scrub"] = "3"
    again = reporter.report()
    del state.task_status["scrub"]
    gone = reporter.report()

    assert not any(quiet.HasField(each) for each in ("status", "health_metrics", "devices"))
    assert changed.devices.devices[0].wear_level == 0.5
    assert changed.task_status.texts["scrub"] == "3"
    assert not again.HasField("devices")
    assert not again.HasField("task_status")
    assert gone.HasField("task_status")
    assert not gone.task_status.texts
