"""What a program counts with other libraries is scraped from the active as it is."""

from __future__ import annotations

import urllib.request

from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    Summary,
    generate_latest,
)
from prometheus_client.parser import text_string_to_metric_families

from mgr.client import Daemon
from mgr.client.bridges.otel import OtelReader
from mgr.client.bridges.prometheus import report_registry
from tests.support import process
from tests.support.cluster import wait_for


def families(text):
    """Each family's kind, help and samples, without what says when it was made."""
    return {
        family.name: (
            family.type,
            family.documentation,
            {
                (
                    sample.name,
                    *sorted((k, v) for k, v in sample.labels.items() if k != "daemon"),
                ): sample.value
                for sample in family.samples
            },
        )
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    }


def test_metrics_of_other_libraries_are_exported_unchanged(start):
    """Names, helps, kinds, labels, buckets and totals: only the daemon's label is added."""
    cluster = start(names=("a",))
    cluster.settled()
    port = process.free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    for option, value in {
        "mgr/prometheus/server_port": port,
        "mgr/prometheus/cache": "false",
        "mgr_stats_period": 1,
    }.items():
        assert cluster.run("config", "set", "mgr", option, str(value)).retval == 0
    cluster.enable("prometheus")

    registry = CollectorRegistry()
    Counter("shop_orders", "Orders that were paid", ["country"], registry=registry).labels(
        'd"e\\'
    ).inc(2.5)
    Gauge("shop_stock_bytes", "Stock", registry=registry).set(-7)
    Summary("shop_wait_seconds", "Waiting", registry=registry).observe(0.25)
    sizes = Histogram("shop_basket", "Sizes", ["kind"], buckets=[1, 5], registry=registry)
    for size in (1, 3, 9):
        sizes.labels("x").observe(size)
    Info("shop_build", "Build", registry=registry).info({"commit": "abc"})
    expected = families(generate_latest(registry).decode())
    assert len(expected) == 5

    with Daemon("web", "eu-1", cluster.hosts) as daemon:
        report_registry(daemon, registry)
        provider = MeterProvider([OtelReader(daemon)])
        meter = provider.get_meter("shop")
        meter.create_counter("shop.visits", description="Visits").add(4, {"via": "ad"})

        def scraped():
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    found = families(answer.read().decode())
            except OSError:  # the page opens in a moment
                return None
            return found if "shop_orders" in found and "shop_visits" in found else None

        found = wait_for(scraped, "the metrics on the active's page")
        provider.shutdown()

    assert {name: found.get(name) for name in expected} == expected
    labels = (("otel_scope_name", "shop"), ("via", "ad"))
    assert found["shop_visits"] == ("counter", "Visits", {("shop_visits_total", *labels): 4})
