"""The metrics of this process. ``metrics_store`` adds them to those of all other processes.

Label values must come from a small fixed set (a route's template, never a path). Each metric has at most MOST_SERIES combinations
of label values in a process; any further one is counted with ``(overflow)`` for every label.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

from apps.practices.mechanisms import metrics_flusher, metrics_numbers, metrics_process
from apps.practices.mechanisms.metrics_numbers import field_of, slow_keep

PREFIX = "shipshape_"
REQUESTS = "http_server_request_duration_seconds"
# Seconds. All durations of requests and queries use the same bounds, because they are summed across processes and releases.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Preferred numbers of the series R10 (ISO 3): a quantile that is interpolated between them is within 10 % of the exact one, if
# durations are as spread as a log-normal distribution with a sigma of 0.2 or more (docs/decisions/0082).
_R10 = (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8)
_FINE = tuple([float(f"{number}e{power}") for power in range(-3, 4) for number in _R10])
MOST_SERIES = 2000  # as the default cardinality limit of OpenTelemetry's metrics SDK specification
OVERFLOW = "(overflow)"
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_NAME = re.compile(r"[a-z][a-z0-9_]*")

_lock = Lock()
_durations: dict[str, "Durations"] = {}
_labels: dict[str, tuple[str, ...]] = {}  # the label names of each counter
_counted: dict[str, int] = {}  # the series of each counter
_fields: dict[tuple[object, ...], bytes] = {}  # by a counter's name and labels


class Durations:
    """A histogram of seconds with its own bounds. Declare it once, where every process imports it.

    ``name`` is the whole name in Prometheus; names that are not OpenTelemetry's begin with PREFIX. ``bounds`` are those that
    Prometheus gets. Between the first and the last, it counts in finer buckets, from 1 ms to 8,000 s.
    """

    def __init__(self, name: str, text: str, *, labels: Sequence[str], bounds: Sequence[float] = BOUNDS) -> None:
        self.name, self.text, self.labels, self.lines = name, text, tuple(labels), tuple(map(float, bounds))
        fine = (bound for bound in _FINE if self.lines[0] < bound < self.lines[-1])
        self.bounds = tuple(sorted({*self.lines, *fine}))
        self._places = (*map(str, self.bounds), "+Inf")
        self._series: dict[tuple[str, ...], _Series] = {}
        _durations[name] = self

    def observe(self, seconds: float, **labels: str) -> None:
        """Count one event of this duration."""
        self.observe_values(seconds, tuple([labels[name] for name in self.labels]))

    def observe_values(self, seconds: float, values: tuple[str, ...]) -> None:
        """Count one event of this duration; ``values`` are those of the labels, in their order."""
        metrics_numbers.add_all(*self.changes(seconds, values))
        metrics_flusher.start()

    def changes(self, seconds: float, values: tuple[str, ...]) -> tuple[tuple[bytes, float], tuple[bytes, float]]:
        """Return what one event of this duration adds: to a bucket, and to the sum."""
        series = self._series.get(values) or self._series_make(values)
        place = bisect_left(self.bounds, seconds)
        field = series.buckets.get(place)
        if field is None:
            field = field_of(f"{self.name}_bucket", {**series.labels, "le": self._places[place]})
            series.buckets[place] = field
        return (field, 1), (series.sum, seconds)

    def _series_make(self, values: tuple[str, ...]) -> "_Series":
        with _lock:
            if len(self._series) >= MOST_SERIES and values not in self._series:
                values = (OVERFLOW,) * len(self.labels)
                if found := self._series.get(values):
                    return found
            labels = dict(zip(self.labels, values, strict=True))
            return self._series.setdefault(values, _Series(labels, field_of(f"{self.name}_sum", labels), {}))


class _Series(NamedTuple):
    """The fields of a histogram's series. Those of its buckets are made when they are first hit, which most never are."""

    labels: dict[str, str]
    sum: bytes
    buckets: dict[int, bytes]


_active: set[str] = set()  # the ids of requests in flight
metrics_process.process_gauges(lambda: {"http_server_active_requests": len(_active)})

# The names are those of OpenTelemetry's semantic conventions (HTTP metrics, stable since 1.23), as Prometheus spells them.
_requests = Durations(
    REQUESTS,
    "Time from the arrival of a request in the application to its response.",
    labels=["http_request_method", "http_response_status_code", "http_route"],
)


def method_of(method: str) -> str:
    """Return a request's method as metrics have it: ``_OTHER`` for one that HTTP does not define."""
    return method if method in METHODS else "_OTHER"


_queries: dict[tuple[str, str], tuple[bytes, bytes]] = {}  # the fields of requests' statements, by method and route


def _queries_make(method: str, route: str) -> tuple[bytes, bytes]:
    labels = {"http_request_method": method, "http_route": route}
    number, spent = (_field(name, labels) for name in ("request_queries", "request_query_seconds"))
    return _queries.setdefault((method, route), (number, spent))


def request_began(request_id: str) -> None:
    """Count a request as in flight, until ``request_observe``."""
    _active.add(request_id)


def request_observe(
    *,
    route: str,
    method: str,
    status: int,
    seconds: float,
    request_id: str,
    queries: int = 0,
    query_seconds: float = 0.0,
) -> None:
    """Count one answered request, with unknown methods as ``_OTHER``, and its statements in PostgreSQL."""
    _active.discard(request_id)
    known = method if method in METHODS else "_OTHER"
    changes: tuple[tuple[bytes, float], ...] = _requests.changes(seconds, (known, str(status), route))
    if queries:
        number, spent = _queries.get((known, route)) or _queries_make(known, route)
        changes = (*changes, (number, queries), (spent, query_seconds))
    metrics_numbers.add_all(*changes)
    metrics_flusher.start()
    slow_keep(route, seconds, method, status, request_id)


def count(name: str, amount: float = 1, **labels: str) -> None:
    """Add to the counter ``shipshape_<name>_total``. Its first use creates it and fixes its label names.

    Raise ValueError for a name that is not snake_case, or for other labels than before.
    """
    key = (name, *labels.items())
    metrics_numbers.add(_fields.get(key) or _field(name, labels), amount)
    metrics_flusher.start()


def _field(name: str, labels: dict[str, str]) -> bytes:
    """Return the field of a counter, which may be new."""
    key = (name, *labels.items())
    if not _NAME.fullmatch(name):
        raise ValueError(f"The name of a counter must be snake_case, not {name!r}.")
    sample = f"{PREFIX}{name}_total"
    with _lock:
        expected = _labels.setdefault(name, tuple(sorted(labels)))
        if expected != tuple(sorted(labels)):
            raise ValueError(f"The counter {name} has the labels {expected}, not {tuple(labels)}.")
        if _counted.get(name, 0) >= MOST_SERIES:
            return field_of(sample, dict.fromkeys(labels, OVERFLOW))
        _counted[name] = _counted.get(name, 0) + 1
        return _fields.setdefault(key, field_of(sample, labels))


def bounds_of(name: str) -> tuple[str, ...]:
    """Return the finite bounds of a histogram's buckets, as written in its fields."""
    found = _durations.get(name)
    return tuple(map(str, found.bounds)) if found else ()


def lines_of(name: str) -> tuple[str, ...]:
    """Return those of the bounds that Prometheus gets: a line for each."""
    found = _durations.get(name)
    return tuple(map(str, found.lines)) if found else ()


def text_of(name: str) -> str:
    """Return what a metric's ``HELP`` line says about it; ``name`` is that of its family."""
    found = _durations.get(name)
    return found.text if found else name.removeprefix(PREFIX).replace("_", " ").capitalize() + "."
