"""Reports what a program counts with OpenTelemetry. Needs the extra ``otel-metrics``."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any, Final

try:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Gauge,
        Histogram,
        HistogramDataPoint,
        MetricReader,
        MetricsData,
        Sum,
    )
    from opentelemetry.sdk.metrics.export import Metric as OtelMetric
except ImportError as missing:
    raise ImportError(
        f"OtelReader needs opentelemetry-sdk: pip install 'mgrd[otel-metrics]' ({missing})"
    ) from missing

from mgr.client.bridges.series import BridgedSeries, Metric
from mgr.client.daemon.counters import INTERESTING
from mgr.client.daemon.program import Program

SCOPE: Final = "otel_scope_name"
"""The label with the name of the meter, as in OpenTelemetry's rules for Prometheus."""
UNITS: Final = {"s": "seconds", "By": "bytes"}


class OtelReader(MetricReader):
    """Reports the metrics of a meter provider as counters of a daemon.

    ``MeterProvider(metric_readers=[OtelReader(daemon)])``. They are read for each report, on the
    thread that calls the functions of gauges. Counters are set to their totals, histograms keep
    their buckets, all others are gauges. The name of a metric is its path: ``http.requests``.

    A metric that cannot be reported, such as a histogram with exponential buckets, is left out,
    which is logged once.
    """

    def __init__(self, daemon: Program, *, group: str = "", priority: int = INTERESTING) -> None:
        """Report to ``daemon``, once a meter provider has this reader."""
        super().__init__()
        self._series = BridgedSeries(daemon, group=group, priority=priority)
        self._open = True
        daemon.before_report(self._before_report)

    def _before_report(self) -> None:
        # Until a provider has this reader, collecting would log a warning each time.
        if self._open and self._collect is not None:
            self.collect()

    def _receive_metrics(self, metrics_data: MetricsData, *_: Any, **__: Any) -> None:
        with self._series.collection():
            for resource in metrics_data.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        self._set(metric, scope.scope.name)

    def shutdown(self, *_: Any, **__: Any) -> None:
        """Stop reading; the last values stay in the reports."""
        self._open = False

    def _set(self, metric: OtelMetric, scope: str) -> None:
        named = Metric(metric.name, metric.description or "", UNITS.get(metric.unit or "", ""))
        data = metric.data
        if getattr(data, "aggregation_temporality", None) is AggregationTemporality.DELTA:
            self._series.leave_out(metric.name, "its values are differences, not totals")
        elif isinstance(data, Histogram):
            for point in data.data_points:
                self._series.histogram(
                    named, _labels(point.attributes, scope), list(_buckets(point)), point.sum
                )
        elif isinstance(data, Sum | Gauge):
            total = isinstance(data, Sum) and data.is_monotonic
            setter = self._series.counter if total else self._series.gauge
            for number in data.data_points:
                setter(named, _labels(number.attributes, scope), number.value)
        else:
            self._series.leave_out(
                metric.name, "use a view with ExplicitBucketHistogramAggregation"
            )


def _buckets(point: HistogramDataPoint) -> Iterator[tuple[float, float]]:
    return zip((*point.explicit_bounds, inf), point.bucket_counts, strict=True)


def _labels(attributes: Any, scope: str) -> dict[str, object]:
    return {SCOPE: scope, **(attributes or {})}
