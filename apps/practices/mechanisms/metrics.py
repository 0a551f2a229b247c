"""The metrics of this process. ``metrics_store`` adds them to those of all other processes.

Label values must come from a small fixed set (a route's template, never a path): each new value is kept for a day.
"""

import re
from collections.abc import Sequence
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from apps.practices.mechanisms import metrics_store

PREFIX = "shipshape_"
# Seconds. All request durations use the same buckets, because they are summed across processes and releases.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_NAME = re.compile(r"[a-z][a-z0-9_]*")

disable_created_metrics()
REGISTRY = CollectorRegistry(auto_describe=True)

_requests = Counter(f"{PREFIX}http_requests", "Requests answered.", ["route", "method", "status"], registry=REGISTRY)
_errors = Counter(
    f"{PREFIX}http_errors", "Requests answered with a 5xx status.", ["route", "method"], registry=REGISTRY
)
_seconds = Histogram(
    f"{PREFIX}http_request_seconds",
    "Time from the arrival of a request in the application to its response.",
    ["route", "method"],
    buckets=BUCKETS,
    registry=REGISTRY,
)

_answers: dict[
    tuple[str, str, int], tuple[Counter, Counter | None, Histogram]
] = {}  # the series of one kind of request
_counters: dict[str, Counter] = {}
_series: dict[tuple[Any, ...], Counter] = {}  # by a counter's name and labels
_counters_lock = Lock()
_bounds: dict[str, tuple[str, ...]] = {}


def request_observe(*, route: str, method: str, status: int, seconds: float) -> None:
    """Count one answered request: unknown methods as ``OTHER``, the status by its class, such as ``2xx``."""
    method = method if method in METHODS else "OTHER"
    key = (route, method, status // 100)
    answered, failed, duration = _answers.get(key) or _answers_make(*key)
    answered.inc()
    if failed is not None:
        failed.inc()
    duration.observe(seconds)
    metrics_store.flusher_start(REGISTRY)


def _answers_make(route: str, method: str, kind: int) -> tuple[Counter, Counter | None, Histogram]:
    failed = _errors.labels(route, method) if kind >= 5 else None
    series = _requests.labels(route, method, f"{kind}xx"), failed, _seconds.labels(route, method)
    _answers[route, method, kind] = series
    return series


def count(name: str, amount: float = 1, **labels: str) -> None:
    """Add to the counter ``shipshape_<name>_total``. Its first use creates it and fixes its label names.

    Raise ValueError for a name that is not snake_case, or for other labels than before.
    """
    key = (name, *labels.items())
    series = _series.get(key)
    if series is None:
        counter = _counters.get(name) or _counter_make(name, tuple(sorted(labels)))
        series = _series[key] = counter.labels(**labels) if labels else counter
    series.inc(amount)
    metrics_store.flusher_start(REGISTRY)


class Durations:
    """A histogram ``shipshape_<name>`` with its own bounds in seconds. Declare it once, where every process imports it."""

    def __init__(self, name: str, text: str, *, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._histogram = Histogram(f"{PREFIX}{name}", text, labels, buckets=bounds, registry=REGISTRY)
        _bounds[f"{PREFIX}{name}"] = tuple(str(float(bound)) for bound in bounds)

    def observe(self, seconds: float, **labels: str) -> None:
        """Count one event of this duration."""
        self._histogram.labels(**labels).observe(seconds)
        metrics_store.flusher_start(REGISTRY)


def bounds_of(name: str) -> tuple[str, ...]:
    """Return the finite bounds of a histogram, as written in its samples."""
    return _bounds.get(name, tuple(str(bound) for bound in BUCKETS))


def _counter_make(name: str, labels: tuple[str, ...]) -> Counter:
    if not _NAME.fullmatch(name):
        raise ValueError(f"The name of a counter must be snake_case, not {name!r}.")
    with _counters_lock:
        if name not in _counters:
            _counters[name] = Counter(PREFIX + name, name.replace("_", " "), labels, registry=REGISTRY)
        return _counters[name]
