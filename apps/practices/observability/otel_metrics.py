"""The metrics of this process as OTLP. They are the numbers that Prometheus gets, so nothing is counted twice."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from threading import Event, Thread
from typing import Any

from django.conf import settings
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from apps.practices.mechanisms.metrics import bounds_of
from apps.practices.mechanisms.metrics_numbers import Labels, field_read, numbers

# OpenTelemetry's own names (semantic conventions for HTTP metrics, stable since 1.23); others stay as Prometheus has them.
NAMES = {
    "http_server_request_duration_seconds": "http.server.request.duration",
    "http_request_method": "http.request.method",
    "http_response_status_code": "http.response.status_code",
    "http_route": "http.route",
}
Series = dict[
    str, dict[Labels, dict[str, float]]
]  # by the histogram's name, its labels without le, and its bound or "sum"


class MetricsExport:
    """The thread that sends this process's metrics every OTEL_METRIC_EXPORT_INTERVAL."""

    def __init__(
        self,
        *,
        endpoint: str,
        headers: Mapping[str, str] | None,
        resource: Resource,
        inherited: Mapping[bytes, float],
    ) -> None:
        self._exporter = OTLPMetricExporter(endpoint=endpoint, headers=headers)
        self._resource = resource
        self._inherited = inherited  # what the parent has counted, which a fork has copied
        self._started = time.time_ns()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="otel-metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send what has been counted since the last time, and stop the thread."""
        self._stop.set()
        self._thread.join()
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._stop.wait(settings.OBSERVABILITY_OTEL_INTERVAL_SECONDS):
            self._exporter.export(self.data())
        self._exporter.export(self.data())

    def data(self) -> MetricsData:
        """Return everything counted since the start."""
        now = time.time_ns()
        before = self._inherited
        counted = {
            field: value - before.get(field, 0.0) for field, value in numbers().items() if value != before.get(field)
        }
        counters, histograms = _series(counted)
        found = [_sum(name, values, self._started, now) for name, values in counters.items()]
        found += [_histogram(name, every, self._started, now) for name, every in histograms.items()]
        scope = ScopeMetrics(scope=InstrumentationScope("shipshape"), metrics=found, schema_url="")
        return MetricsData([ResourceMetrics(resource=self._resource, scope_metrics=[scope], schema_url="")])


def _series(counted: Mapping[bytes, float]) -> tuple[dict[str, dict[Labels, float]], Series]:
    counters: dict[str, dict[Labels, float]] = defaultdict(dict)
    histograms: Series = defaultdict(lambda: defaultdict(dict))
    for field, value in counted.items():
        name, labels = field_read(field)
        family, _, part = name.rpartition("_")
        if part == "total":
            counters[family][labels] = value
        else:
            bound = dict(labels).get("le", "sum")
            histograms[family][tuple(pair for pair in labels if pair[0] != "le")][bound] = value
    return counters, histograms


def _sum(name: str, values: Mapping[Labels, float], started: int, now: int) -> Metric:
    points = [NumberDataPoint(_attributes(labels), started, now, value) for labels, value in values.items()]
    data = Sum(data_points=points, aggregation_temporality=AggregationTemporality.CUMULATIVE, is_monotonic=True)
    return Metric(name=name, description="", unit="", data=data)


def _histogram(name: str, every: Mapping[Labels, Mapping[str, float]], started: int, now: int) -> Metric:
    bounds = bounds_of(name)
    points = [_point(labels, parts, bounds, started, now) for labels, parts in every.items()]
    data = Histogram(data_points=points, aggregation_temporality=AggregationTemporality.CUMULATIVE)
    return Metric(name=NAMES.get(name, name), description="", unit="s" if name.endswith("_seconds") else "", data=data)


def _point(
    labels: Labels, parts: Mapping[str, float], bounds: Sequence[str], started: int, now: int
) -> HistogramDataPoint:
    """Return a histogram's counts by bucket, which are not cumulated, as OTLP wants them."""
    counts = [int(parts.get(bound, 0)) for bound in (*bounds, "+Inf")]
    return HistogramDataPoint(
        attributes=_attributes(labels),
        start_time_unix_nano=started,
        time_unix_nano=now,
        count=sum(counts),
        sum=parts.get("sum", 0.0),
        bucket_counts=counts,
        explicit_bounds=[float(bound) for bound in bounds],
        min=None,  # type: ignore[arg-type]  # not known, which OTLP allows
        max=None,  # type: ignore[arg-type]  # as above
    )


def _attributes(labels: Labels) -> dict[str, Any]:
    return {
        NAMES.get(name, name): int(value) if name == "http_response_status_code" and value.isdigit() else value
        for name, value in labels
    }
