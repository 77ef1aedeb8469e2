"""Counters: what they hold, what is refused, what threads do to them."""

from __future__ import annotations

import threading

import pytest

from mgr.client.daemon.counters import (
    LABEL_LENGTH_MAX,
    Average,
    Counter,
    Counters,
    Gauge,
    Histogram,
)
from mgr.errors import InvalidArgumentError


@pytest.fixture
def counters():
    return Counters("web")


def test_no_count_is_lost_between_threads(counters):
    """Eight threads count at the same time."""
    requests = counters.get(Counter, "requests")
    latency = counters.get(Average, "latency")

    def count():
        for _ in range(2000):
            requests.inc()
            latency.observe(2)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert requests.read() == (16000,)
    assert latency.read() == (32000, 16000)


def test_the_same_path_and_labels_are_the_same_counter(counters):
    """The order of labels does not matter; another value is another series."""
    one = counters.get(Counter, "requests", {"method": "GET", "code": "200"})

    assert counters.get(Counter, "requests", {"code": "200", "method": "GET"}) is one
    assert counters.get(Counter, "requests", {"code": "404", "method": "GET"}) is not one
    assert counters.get(Counter, "requests") is not one
    assert len(counters.live()) == 3


def test_a_path_has_one_kind(counters):
    """Otherwise the manager would get two declarations of one path."""
    counters.get(Counter, "requests")

    with pytest.raises(InvalidArgumentError, match="is a counter, not a gauge"):
        counters.get(Gauge, "requests")


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf")])
def test_a_counter_only_grows(counters, amount):
    """What would break its promise is refused where it is written."""
    with pytest.raises(ValueError, match="cannot grow"):
        counters.get(Counter, "requests").inc(amount)


def test_what_is_not_finite_reaches_no_value(counters):
    """One bad observation would spoil a sum for ever."""
    gauge, average = counters.get(Gauge, "load"), counters.get(Average, "latency")
    histogram = counters.get(Histogram, "sizes", bounds=(1.0,))
    gauge.set(4)
    for value in (float("nan"), float("inf")):
        gauge.set(value)
        gauge.inc(value)
        average.observe(value)
        histogram.observe(value)

    assert gauge.read() == (4,)
    assert average.read() == (0, 0)
    assert histogram.read() == (0, 0, 0)


def test_a_bound_belongs_to_the_bucket_below_it(counters):
    """Each bucket has its own count; the last has no bound; then comes the sum."""
    histogram = counters.get(Histogram, "sizes", bounds=(1.0, 2.0))
    for value in (0.5, 1, 1.5, 2, 3):
        histogram.observe(value)

    assert histogram.read() == (2, 2, 1, 8)


def test_a_block_is_timed_also_if_it_raises(counters):
    """Slow failures count as well."""
    latency = counters.get(Average, "latency", unit="seconds")

    with pytest.raises(OSError, match="x"), latency.time():
        raise OSError("x")

    assert latency.read()[1] == 1


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "re quests"},
        {"name": "x", "group": "we.b"},
        {"name": "x", "unit": "miles"},
        {"name": "x", "labels": {"a-b": "1"}},
        {"name": "x", "bounds": (2.0, 1.0)},
        {"name": "x", "bounds": (1.0, float("inf"))},
    ],
    ids=str,
)
def test_what_cannot_be_declared_is_refused_where_it_is_made(counters, options):
    """Not later, by a manager, in the background."""
    with pytest.raises(InvalidArgumentError):
        counters.get(Counter, options.pop("name"), options.pop("labels", None), **options)


def test_labels_made_of_what_users_send_do_no_harm(counters):
    """They are cut and made printable."""
    made = counters.get(Counter, "requests", {"path": "/\n" + "x" * 1000})

    (label,) = made.spec.labels
    assert label[1].startswith("/?x")
    assert len(label[1]) == LABEL_LENGTH_MAX


def test_beyond_the_limit_counters_count_and_are_not_reported(caplog):
    """A program that makes too many goes on; that is logged once."""
    counters = Counters("web", series_max=2)

    for number in range(10):
        counters.get(Counter, "requests", {"user": str(number)}).inc()

    assert len(counters.live()) == 2
    assert [each.counters_max for each in caplog.records] == [2]


def test_a_removed_counter_restarts_at_zero(counters):
    """And makes room for another one."""
    one = counters.get(Counter, "requests", {"disk": "sda"})
    one.inc(5)
    one.remove()

    again = counters.get(Counter, "requests", {"disk": "sda"})

    assert again.read() == (0,)
    assert counters.live() == [again]


def test_a_gauges_function_that_raises_keeps_the_last_value(counters, caplog):
    """It is logged once, until it works again."""
    gauge = counters.get(Gauge, "queue")
    answers = [7, OSError(), SystemExit(), 8, OSError()]

    def function():
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    gauge.function = function
    seen = []
    while answers:
        gauge.sample()
        seen.append(gauge.read()[0])

    assert seen == [7, 7, 7, 8, 8]
    assert len(caplog.records) == 2
