"""What a program counts with prometheus_client, as counters of its daemon."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary

from mgr.client.bridges.prometheus import report_registry
from mgr.client.daemon.program import Program
from mgr.client.daemon.reporter import Reporter


@pytest.fixture
def program():
    return Program("web", "w", host="h", version="", metadata=None, on_replaced=None)


@pytest.fixture
def registry():
    return CollectorRegistry()


def values(program):
    """Each reported counter after a round of collecting: kind, values, by path and labels."""
    program.sample()
    found = {}
    for series in program.counters.live():
        spec = series.spec
        labels = "".join(f",{name}={value}" for name, value in spec.labels)
        found[f"{spec.group}.{spec.name}{labels}"] = (series.KIND, *series.read())
    return found


def test_each_kind_becomes_its_counterpart(program, registry):
    """Nothing is lost but the times of creation."""
    Counter("http_requests", "Served", ["code"], registry=registry).labels("200").inc(3)
    Gauge("queue_depth", "", registry=registry).set(-2)
    latency = Summary("rpc_seconds", "", registry=registry)
    latency.observe(0.5)
    latency.observe(1.5)
    Info("build", "", registry=registry).info({"commit": "abc"})
    Enum("job_state", "", states=["idle", "busy"], registry=registry).state("busy")
    report_registry(program, registry)

    assert values(program) == {
        "http.requests,code=200": ("counter", 3),
        "queue.depth": ("gauge", -2),
        "rpc.seconds": ("average", 2.0, 2),
        "build.info,commit=abc": ("gauge", 1),
        "job.state,job_state=idle": ("gauge", 0),
        "job.state,job_state=busy": ("gauge", 1),
    }


def test_buckets_stay_buckets(program, registry):
    """The registry cumulates them, a report does not."""
    sizes = Histogram("sizes", "", buckets=[1, 2, 4], registry=registry)
    for size in (0.5, 1, 3, 3, 100):
        sizes.observe(size)
    report_registry(program, registry)

    assert values(program) == {"web.sizes": ("histogram", 2, 0, 2, 1, 107.5)}
    [series] = program.counters.live()
    assert series.spec.bounds == (1, 2, 4)


def test_a_counter_is_set_to_its_total(program, registry):
    """Not increased by it; a total that begins again is taken as it is."""
    requests = Counter("http_requests", "", registry=registry)
    report_registry(program, registry)
    requests.inc(3)
    values(program)
    requests.inc(2)

    assert values(program) == {"http.requests": ("counter", 5)}
    requests.reset()
    assert values(program) == {"http.requests": ("counter", 0)}


def test_description_unit_priority_and_group(program, registry):
    """What the registry knows is declared; the caller chooses the rest."""
    Histogram("rpc_wait_seconds", "Time\nin the queue", registry=registry).observe(1)
    report_registry(program, registry, group="web", priority=5)

    values(program)
    declared = Reporter(program.counters, program.reported_state).declare().counters[0]

    assert (declared.group, declared.name, declared.priority) == ("web", "rpc_wait_seconds", 5)
    assert declared.description == "Time in the queue"
    assert declared.unit == 2


def test_a_series_that_is_removed_is_reported_no_more(program, registry):
    """One that comes back is reported again."""
    jobs = Gauge("jobs_open", "", ["queue"], registry=registry)
    report_registry(program, registry)
    jobs.labels("a").set(1)
    jobs.labels("b").set(2)
    values(program)

    jobs.remove("a")
    assert list(values(program)) == ["jobs.open,queue=b"]
    jobs.labels("a").set(3)
    assert values(program)["jobs.open,queue=a"] == ("gauge", 3)


def test_a_collector_that_fails_removes_nothing(program, registry, caplog):
    """Its error is logged once, until it works again."""
    works = [True]

    class Database:
        def collect(self):
            if not works[0]:
                raise RuntimeError("the database is away")
            return ()

    Gauge("jobs_open", "", registry=registry).set(1)
    registry.register(Database())
    report_registry(program, registry)
    values(program)

    works[0] = False
    for _ in range(2):
        assert values(program) == {"jobs.open": ("gauge", 1)}
    assert caplog.text.count("RuntimeError: the database is away") == 1


def test_what_cannot_be_reported_is_left_out_and_named_once(program, registry, caplog):
    """The others are reported."""
    Histogram("huge", "", buckets=range(100), registry=registry)
    Gauge("labels", "", [f"l{n}" for n in range(17)], registry=registry).labels(*"x" * 17).set(1)
    Gauge("good", "", registry=registry).set(1)
    report_registry(program, registry)

    for _ in range(2):
        assert values(program) == {"web.good": ("gauge", 1)}
    assert sorted(r.metric for r in caplog.records) == ["huge", "labels"]


def test_two_series_that_become_one_are_not_mixed(program, registry, caplog):
    """Labels are cut: the first one stays, and the log says so."""
    jobs = Gauge("jobs_open", "", ["text"], registry=registry)
    jobs.labels("x" * 128 + "a").set(1)
    jobs.labels("x" * 128 + "b").set(2)
    report_registry(program, registry)

    assert list(values(program).values()) == [("gauge", 1)]
    assert "another series has the same name and labels" in caplog.records[0].why
