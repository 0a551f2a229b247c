"""Metrics for Prometheus: of the whole fleet, or of this process only while Redis is unavailable."""

import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.samples import Exemplar

from apps.practices.mechanisms import metrics_flusher, metrics_numbers, metrics_process, metrics_store
from apps.practices.mechanisms.metrics import PREFIX, REQUESTS, lines_of, method_of, text_of
from apps.practices.mechanisms.metrics_numbers import Slow
from apps.practices.mechanisms.metrics_process import Process, series_read
from apps.practices.observability import gauges

_TEXTS = {
    "db_client_connection_max": "The most connections that the process's pools may have.",
    "db_client_connection_pending_requests": "Requests that wait for a connection of the process's pools.",
    "db_client_connection_used": "Connections of the process's pools that requests have.",
    "http_server_active_requests": "Requests in flight in the process.",
    "process_cpu_seconds": "Processor time of the process.",
    "process_open_fds": "Open file descriptors of the process.",
    "process_resident_memory_bytes": "Resident memory of the process.",
    "process_start_time_seconds": "When the process started, since 1970.",
    "process_threads": "Threads of the process.",
    "shipshape_breaker_open": "Whether the process's circuit breaker is open, 0 or 1.",
    "shipshape_process_cpu_cores": "Processor cores in use by the process in the last seconds.",
    "shipshape_process_info": "The release that the process runs.",
}


def exposition(accept: str = "") -> tuple[bytes, str]:
    """Return all metrics and their media type: OpenMetrics with exemplars if ``accept`` names it, else Prometheus's own format.

    ``shipshape_metrics_scope`` tells fleet and process apart.
    """
    is_open = "application/openmetrics-text" in accept
    now, slow = time.time(), dict[str, list[Slow]]()
    try:
        metrics_flusher.flush()
        numbers, scope = metrics_store.fleet_totals(), "fleet"
        processes = metrics_store.fleet_processes(now=now)
        if is_open:
            slow = metrics_store.slowest_recent(at=now)
    except metrics_store.FleetUnavailable:
        numbers, scope = metrics_numbers.numbers(), "process"
        processes = [metrics_process.Heart().look()]
        slow = {route: [one] for route, one in metrics_numbers.slowest().items()}
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(numbers, scope=scope, exemplars=_exemplars(slow)))
    registry.register(_Processes(processes))
    registry.register(gauges.Gauges())
    if is_open:
        return openmetrics.generate_latest(registry), openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), CONTENT_TYPE_LATEST


Series = tuple[tuple[str, str], ...]


def _exemplars(slow: Mapping[str, Iterable[Slow]]) -> dict[tuple[Series, str], Exemplar]:
    """Return the slowest requests of the last two minutes as exemplars, by series and bucket."""
    found: dict[tuple[Series, str], Exemplar] = {}
    bounds = lines_of(REQUESTS)
    for route, every in slow.items():
        for one in every:
            labels = {
                "http_request_method": method_of(one.method),
                "http_response_status_code": str(one.status),
                "http_route": route,
            }
            bound = next((bound for bound in bounds if one.seconds <= float(bound)), "+Inf")
            exemplar = Exemplar({"request_id": one.request_id}, one.seconds, one.at)
            found[tuple(sorted(labels.items())), bound] = exemplar
    return found


class _Processes:
    """The numbers of each process that is alive."""

    def __init__(self, processes: Iterable[Process]) -> None:
        self._processes = processes

    def collect(self) -> Iterable[Metric]:
        families: dict[str, list[tuple[dict[str, str], float]]] = {}
        for process in self._processes:
            own = {"host": process.host, "pid": str(process.pid), "role": process.role}
            more = {"process_start_time_seconds": process.started}
            for written, value in {**process.gauges, **more}.items():
                name, labels = series_read(written)
                families.setdefault(name, []).append((own | labels, value))
            families.setdefault("shipshape_process_info", []).append((own | {"release": process.release}, 1.0))
        for name, samples in sorted(families.items()):
            plain = name.removesuffix("_total")
            made = CounterMetricFamily if name != plain else GaugeMetricFamily
            family = made(plain, _TEXTS.get(plain, text_of(plain)), labels=sorted(samples[0][0]))
            for labels, value in samples:
                family.add_metric([labels[label] for label in sorted(labels)], value)
            yield family


class _Numbers:
    """The numbers that are added up."""

    def __init__(
        self, numbers: Mapping[bytes, float], *, scope: str, exemplars: Mapping[tuple[Series, str], Exemplar]
    ) -> None:
        self._numbers = numbers
        self._scope = scope
        self._exemplars = exemplars

    def collect(self) -> Iterable[Metric]:
        yield _scope(self._scope)
        counters: dict[str, list[tuple[dict[str, str], float]]] = {}
        histograms: dict[str, dict[Series, dict[str, float]]] = {}
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
            yield _histogram(family, text_of(family), every, self._exemplars if family == REQUESTS else {})


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


def _histogram(
    name: str,
    text: str,
    every: Mapping[Series, Mapping[str, float]],
    exemplars: Mapping[tuple[Series, str], Exemplar],
) -> Metric:
    family = HistogramMetricFamily(name, text, labels=[label for label, _ in next(iter(every))])
    # Only another release may have this histogram, or count with other bounds.
    found = {bound for stored in every.values() for bound in stored} - {"sum"}
    bounds = sorted({*(lines_of(name) or found), "+Inf"}, key=float)
    edges = [float(bound) for bound in bounds]
    place_of = {bound: bisect_left(edges, float(bound)) for bound in found}
    for series, stored in every.items():
        counts = [0.0] * len(bounds)
        for bound, number in stored.items():
            if bound != "sum":
                counts[place_of[bound]] += number
        buckets: list[Any] = [
            (bound, total, exemplars.get((series, bound)))
            for bound, total in zip(bounds, accumulate(counts), strict=True)
        ]
        family.add_metric([value for _, value in series], buckets, stored.get("sum", 0.0))
    return family
