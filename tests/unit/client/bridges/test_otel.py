"""What a program counts with OpenTelemetry, as counters of its daemon."""

from __future__ import annotations

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from mgr.client.bridges.otel import OtelReader
from mgr.client.daemon.program import Program


@pytest.fixture
def program():
    return Program("web", "w", host="h", version="", metadata=None, on_replaced=None)


@pytest.fixture
def meter_of(program):
    """Meters of a provider that reports to the program."""
    providers = []

    def made(name="shop", **options):
        providers.append(MeterProvider([OtelReader(program)], **options))
        return providers[-1].get_meter(name)

    yield made
    for provider in providers:
        provider.shutdown()


def values(program):
    """Each reported counter after a round of collecting: kind, unit, values."""
    program.sample()
    found = {}
    for series in program.counters.live():
        spec = series.spec
        labels = "".join(f",{name}={value}" for name, value in spec.labels)
        found[f"{spec.group}.{spec.name}{labels}"] = (series.KIND, spec.unit, *series.read())
    return found


def test_each_instrument_becomes_its_counterpart(program, meter_of):
    """By its own name, with its attributes and the meter's name as labels."""
    meter = meter_of()
    requests = meter.create_counter("http.server.requests", description="Served")
    requests.add(2, {"http.method": "GET"})
    requests.add(1, {"http.method": "GET"})
    meter.create_up_down_counter("queue.depth").add(-3)
    meter.create_observable_gauge("temperature", [lambda _: [Observation(21.5)]])
    latency = meter.create_histogram(
        "http.wait", unit="s", explicit_bucket_boundaries_advisory=[1, 2]
    )
    for seconds in (0.5, 1, 1.5, 9):
        latency.record(seconds)

    shop = "otel_scope_name=shop"
    assert values(program) == {
        f"http.server.requests,http_method=GET,{shop}": ("counter", "", 3),
        f"queue.depth,{shop}": ("gauge", "", -3),
        f"web.temperature,{shop}": ("gauge", "", 21.5),
        f"http.wait,{shop}": ("histogram", "seconds", 2, 1, 1, 12),
    }
    requests.add(1, {"http.method": "GET"})
    assert values(program)[f"http.server.requests,http_method=GET,{shop}"] == ("counter", "", 4)


def test_exponential_buckets_are_left_out(program, meter_of, caplog):
    """They have no bounds that stay; the log says what to use."""
    aggregation = ExponentialBucketHistogramAggregation()
    meter = meter_of(views=[View(instrument_name="sizes", aggregation=aggregation)])
    meter.create_histogram("sizes").record(1)
    meter.create_counter("requests").add(1)

    for _ in range(2):
        assert list(values(program)) == ["web.requests,otel_scope_name=shop"]
    assert [record.metric for record in caplog.records] == ["sizes"]


def test_a_reader_that_is_not_used_or_shut_down_is_quiet(program, caplog):
    """The last values stay."""
    reader = OtelReader(program)
    assert values(program) == {}

    provider = MeterProvider([reader])
    counter = provider.get_meter("shop").create_counter("requests")
    counter.add(1)
    before = values(program)
    provider.shutdown()

    assert values(program) == before != {}
    assert caplog.records == []
