"""Metrics in Prometheus text format: of the whole fleet, or of this process only while Redis is unavailable."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from apps.practices.mechanisms import metrics_flusher, metrics_numbers, metrics_store
from apps.practices.mechanisms.metrics import PREFIX, bounds_of, text_of
from apps.practices.observability import gauges


def exposition() -> bytes:
    """Return all metrics in Prometheus's text format; ``shipshape_metrics_scope`` tells fleet and process apart."""
    try:
        metrics_flusher.flush()
        numbers, scope = metrics_store.fleet_totals(), "fleet"
    except metrics_store.FleetUnavailable:
        numbers, scope = metrics_numbers.numbers(), "process"
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(numbers, scope=scope))
    registry.register(gauges.Gauges())
    return generate_latest(registry)


class _Numbers:
    def __init__(self, numbers: Mapping[bytes, float], *, scope: str) -> None:
        self._numbers = numbers
        self._scope = scope

    def collect(self) -> Iterable[Metric]:
        yield _scope(self._scope)
        counters: dict[str, list[tuple[dict[str, str], float]]] = {}
        histograms: dict[str, dict[tuple[tuple[str, str], ...], dict[str, float]]] = {}
        for field, value in self._numbers.items():
            name, pairs = metrics_numbers.field_read(field)
            labels = dict(pairs)
            family, _, part = name.rpartition("_")
            if part == "total":
                counters.setdefault(family, []).append((labels, value))
            else:
                bound = labels.pop("le", "sum")
                series = tuple(sorted(labels.items()))
                histograms.setdefault(family, {}).setdefault(series, {})[bound] = value
        for family, samples in sorted(counters.items()):
            yield _counter(family, text_of(family), samples)
        for family, every in sorted(histograms.items()):
            yield _histogram(family, text_of(family), every)


def _scope(scope: str) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}metrics_scope",
        "Whose numbers these are: the fleet's or, Redis away, one process's.",
        labels=["scope"],
    )
    family.add_metric([scope], 1)
    return family


def _counter(name: str, text: str, samples: list[tuple[dict[str, str], float]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=sorted(samples[0][0]))
    for labels, value in samples:
        family.add_metric([labels[label] for label in sorted(labels)], value)
    return family


def _histogram(name: str, text: str, every: Mapping[tuple[tuple[str, str], ...], Mapping[str, float]]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=[label for label, _ in next(iter(every))])
    # Another release may have counted with other bounds.
    found = {bound for stored in every.values() for bound in stored} - {"sum"}
    bounds = sorted({*bounds_of(name), "+Inf", *found}, key=float)
    for series, stored in every.items():
        total = 0.0
        buckets: list[Any] = []
        for bound in bounds:
            total += stored.get(bound, 0.0)
            buckets.append((bound, total))
        family.add_metric([value for _, value in series], buckets, stored.get("sum", 0.0))
    return family
