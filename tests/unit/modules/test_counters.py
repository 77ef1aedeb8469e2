"""``counter``: what the fleet counts, and who counts most."""

import errno
import json

import pytest

from modules.status.module import Module

COUNTER, AVERAGE, HISTOGRAM = 8, 4, 16


@pytest.fixture
def host(mgr_host):
    mgr_host.load(Module)
    return mgr_host


def reports(host, daemon, path, *points, **declared):
    """A daemon declares a counter and reports points: time and values."""
    fleet = host.context.fleet
    fleet.add(daemon)
    fleet.declare(daemon, path, **declared)
    for point in points:
        fleet.count(daemon, path, *point)


def shown(host, words):
    return json.loads(host.run(words, format="json").stdout)


def test_the_daemon_of_which_a_counter_grows_most_stands_first(host):
    """Per second, between its last two reports."""
    reports(host, "rgw.slow", "rgw.requests", (10, 900), (15, 905), type=COUNTER)
    reports(host, "rgw.fast", "rgw.requests", (10, 0), (15, 500), (20, 550), type=COUNTER)
    reports(host, "host.h", "rgw.requests", (10, 0), (15, 9), type=COUNTER)

    assert shown(host, "counter top rgw rgw.requests") == [
        {"daemon": "rgw.fast", "value": 550, "rate": 10},
        {"daemon": "rgw.slow", "value": 905, "rate": 1},
    ]
    assert [row["daemon"] for row in shown(host, "counter top rgw rgw.requests 1")] == ["rgw.fast"]


def test_what_goes_up_and_down_is_ordered_by_its_value(host):
    """As a table where a person reads."""
    reports(host, "rgw.a", "rgw.open", (10, 3))
    reports(host, "rgw.b", "rgw.open", (10, 7.25))

    answer = host.run("counter top rgw rgw.open")

    assert answer.stdout == "DAEMON  VALUE\nrgw.b   7.25\nrgw.a   3"


def test_an_average_is_shown_by_what_was_observed_since(host):
    """Not since the start of the program: the last seconds are what one looks for."""
    reports(host, "rgw.a", "rgw.wait", (10, 100, 10), (20, 104, 30), type=AVERAGE)
    reports(
        host, "rgw.a", "rgw.size", (10, 1, 1, 0, 9), (20, 1, 3, 1, 39), type=HISTOGRAM,
        bounds=[1, 2],
    )  # fmt: skip

    assert shown(host, "counter top rgw rgw.wait") == [
        {"daemon": "rgw.a", "count": 30, "rate": 2, "mean": 0.2}
    ]
    assert shown(host, "counter top rgw rgw.size") == [
        {"daemon": "rgw.a", "count": 5, "rate": 0.3, "mean": 10}
    ]


@pytest.mark.parametrize("points", [[(10, 5)], [(10, 5), (15, 2)]])
def test_an_unknown_rate_is_shown_as_unknown(host, points):
    """Before the second report, and after the program was restarted."""
    reports(host, "rgw.a", "rgw.requests", *points, type=COUNTER)
    reports(host, "rgw.b", "rgw.requests", (10, 5), (15, 5), type=COUNTER)

    rows = shown(host, "counter top rgw rgw.requests")

    assert [(row["daemon"], row["rate"]) for row in rows] == [("rgw.b", 0), ("rgw.a", "-")]


def test_labels_tell_counters_of_one_path_apart(host):
    """Each is a row of its own."""
    fleet = host.context.fleet
    fleet.add("rgw.a")
    schema = {"type": COUNTER, "priority": 5}
    families = [{"labels": {"op": op}, "counters": {"n": schema}} for op in ("get", "put")]
    fleet.declare_labelled("rgw.a", "ops", families)
    fleet.count_labelled("rgw.a", "ops", "n", {"op": "get"}, 10, 1)
    fleet.count_labelled("rgw.a", "ops", "n", {"op": "put"}, 10, 2)

    rows = shown(host, "counter top rgw ops.n")

    assert sorted(row["labels"] for row in rows) == ["op=get", "op=put"]
    [listed] = shown(host, "counter ls")
    assert (listed["path"], listed["labels"], listed["daemons"]) == ("ops.n", "op", 1)


def test_counters_are_listed_by_path(host):
    """Of all types or of one; two daemons that count the same are one row."""
    for daemon in ("rgw.a", "rgw.b", "host.h"):
        reports(host, daemon, "x.requests", (10, 5), type=COUNTER, description="Served")
    reports(host, "host.h", "host.load", (10, 5))

    listed = shown(host, "counter ls")

    assert [(row["path"], row["daemons"]) for row in listed] == [
        ("host.load", 1),
        ("x.requests", 3),
    ]
    assert listed[1]["description"] == "Served"
    assert [row["daemons"] for row in shown(host, "counter ls rgw")] == [2]


def test_a_counter_that_nobody_has_is_named(host):
    """And ends the polling."""
    answer = host.run("counter top rgw rgw.none", print_header=True, period=1.0, width=80)

    assert answer.retval == -errno.ENOENT
    assert answer.stderr == "no daemon of type 'rgw' has counter 'rgw.none'"


def test_a_daemon_that_is_silent_is_in_no_list(host):
    """What it counted last is not what it counts."""
    reports(host, "rgw.a", "rgw.requests", (10, 5), (15, 9), type=COUNTER)
    reports(host, "rgw.b", "rgw.requests", (10, 5), (15, 5), type=COUNTER)
    host.context.fleet.set_state("rgw.a", "silent")

    assert [row["daemon"] for row in shown(host, "counter top rgw rgw.requests")] == ["rgw.b"]
    assert [row["daemons"] for row in shown(host, "counter ls")] == [1]


@pytest.mark.parametrize("value", [12345678901, 2**53 - 1, 1234567.25, 0.3])
def test_values_are_shown_to_the_last_digit(host, value):
    """Of rates and means six digits are enough."""
    reports(host, "rgw.a", "rgw.requests", (10, 0), (13, value), type=COUNTER)
    reports(host, "rgw.a", "rgw.open", (10, 0), (13, value))
    reports(host, "rgw.a", "rgw.wait", (10, 0, 0), (13, 3, 123456789), type=AVERAGE)

    [requests] = shown(host, "counter top rgw rgw.requests")
    assert requests["value"] == value
    assert requests["rate"] == float(f"{value / 3:.6g}")
    assert shown(host, "counter top rgw rgw.open")[0]["value"] == value
    assert shown(host, "counter top rgw rgw.wait")[0]["count"] == 123456789


def test_a_sum_of_fractions_is_shown_without_the_noise_of_binary(host):
    """People read it."""
    reports(host, "rgw.a", "rgw.open", (10, 0.1 + 0.2))

    assert host.run("counter top rgw rgw.open").stdout.endswith("0.3")
