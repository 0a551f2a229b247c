"""The metrics of the last hours: of the whole fleet, from the buckets in Redis, or of this process since it started."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import orjson
import redis

from apps.practices.mechanisms import metrics_flusher, metrics_numbers, metrics_process, metrics_refusals, metrics_store
from apps.practices.mechanisms.metrics import REQUESTS, bounds_of
from apps.practices.mechanisms.metrics_numbers import Labels, Slow
from apps.practices.mechanisms.metrics_process import Process
from apps.practices.mechanisms.metrics_store import RESOLUTIONS, FleetUnavailable
from apps.practices.observability.quantiles import Histogram, quantiles

# By minutes: the length of a step, and how many there are. Alerts look at the last 10 minutes.
RANGES = {10: (RESOLUTIONS[0], 10), 60: (RESOLUTIONS[0], 60), 360: (RESOLUTIONS[1], 72), 1440: (RESOLUTIONS[2], 96)}

Points = list[float]  # a number for each step

MOST_REFUSED = 10  # names of each policy


@dataclass(frozen=True, slots=True)
class Release:
    """A release, and when its first process started (seconds since 1970). One that returns is listed again."""

    name: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The requests of one route and method in the whole range. Durations are seconds."""

    route: str
    method: str
    requests: float
    by_class: dict[str, float]  # of the status: "2xx" and so on
    mean: float
    p50: float | None
    p95: float | None
    p99: float | None
    queries: float  # statements in PostgreSQL
    query_seconds: float
    slowest: Slow | None  # of the route, whatever its method

    @property
    def errors(self) -> float:
        """Return how many had a 5xx status."""
        return self.by_class.get("5xx", 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Numbers by step. The last step is not over; ``seconds`` says how long each one has been, to make rates of counts.

    Counters are named as in ``/metrics``, with ``_total``; histograms without a suffix. ``labels`` choose series by exact values.
    """

    is_fleet: bool  # or this process alone
    step: int  # seconds
    times: list[int]  # the start of each step, seconds since 1970
    seconds: list[float]
    series: dict[str, dict[Labels, Points]]  # by the name of the sample: histograms have _bucket and _sum
    processes: list[Process]  # those that live
    releases: list[Release]  # those that began within the range, and the one before
    slow: dict[str, list[Slow]]  # by route, slowest first: the slowest of each, and of the others the slowest 20 of all
    refused: dict[str, dict[str, int]]  # by policy: the user ids and addresses refused most, and how often, at most 10

    def points(self, name: str, **labels: str) -> Points:
        """Return the sum of a counter's chosen series, by step."""
        return self._sum(row for found, row in self.series.get(name, {}).items() if _fits(found, labels))

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a counter's chosen series, in the whole range."""
        return sum(self.points(name, **labels))

    def by(self, name: str, label: str, **labels: str) -> dict[str, Points]:
        """Return a counter's points by the values of one label."""
        return self._by(name, lambda found: dict(found).get(label, ""), labels)

    def counts(self, name: str, **labels: str) -> Points:
        """Return how many events of a histogram there were, by step."""
        return self.points(f"{name}_bucket", **labels)

    def counts_by(self, name: str, label: str, **labels: str) -> dict[str, Points]:
        """Return the same by the values of one label."""
        return self.by(f"{name}_bucket", label, **labels)

    def histogram(self, name: str, **labels: str) -> Histogram:
        """Return a histogram, for its quantiles."""
        return Histogram(self.by(f"{name}_bucket", "le", **labels), bounds_of(name), steps=len(self.times))

    def requests_by_class(self) -> dict[str, Points]:
        """Return how many requests there were by class of the status, such as "2xx", by step."""
        return self._by(f"{REQUESTS}_bucket", lambda found: _class_of(dict(found)), {})

    def routes(self) -> list[Route]:
        """Return all routes that were requested, those with the most requests first."""
        buckets: dict[tuple[str, str], dict[str, float]] = {}
        classes: dict[tuple[str, str], dict[str, float]] = {}
        for labels, row in self.series.get(f"{REQUESTS}_bucket", {}).items():
            named, number = dict(labels), sum(row)
            key = named["http_route"], named["http_request_method"]
            for table, part in ((buckets, named["le"]), (classes, _class_of(named))):
                counted = table.setdefault(key, {})
                counted[part] = counted.get(part, 0.0) + number
        seconds = self._by_route(f"{REQUESTS}_sum")
        queries = self._by_route("shipshape_request_queries_total")
        query_seconds = self._by_route("shipshape_request_query_seconds_total")
        bounds = bounds_of(REQUESTS)
        found = []
        for key, counted in buckets.items():
            requests = sum(counted.values())
            p50, p95, p99 = quantiles((0.5, 0.95, 0.99), counted, bounds)
            slow = self.slow.get(key[0])
            found.append(
                Route(
                    route=key[0],
                    method=key[1],
                    requests=requests,
                    by_class=classes[key],
                    mean=seconds.get(key, 0.0) / requests if requests else 0.0,
                    p50=p50,
                    p95=p95,
                    p99=p99,
                    queries=queries.get(key, 0.0),
                    query_seconds=query_seconds.get(key, 0.0),
                    slowest=slow[0] if slow else None,
                )
            )
        return sorted(found, key=lambda route: (-route.requests, route.route, route.method))

    def slowest(self, most: int = 20) -> list[tuple[str, Slow]]:
        """Return the slowest requests, at most 20, with their routes: of each route at most one a step."""
        found = [(route, slow) for route, every in self.slow.items() for slow in every]
        return sorted(found, key=lambda pair: -pair[1].seconds)[:most]

    def _by_route(self, name: str) -> dict[tuple[str, str], float]:
        totals: dict[tuple[str, str], float] = {}
        for labels, row in self.series.get(name, {}).items():
            named = dict(labels)
            key = named["http_route"], named["http_request_method"]
            totals[key] = totals.get(key, 0.0) + sum(row)
        return totals

    def _by(self, name: str, group: Callable[[Labels], str], labels: Mapping[str, str]) -> dict[str, Points]:
        rows: dict[str, list[Points]] = {}
        for found, row in self.series.get(name, {}).items():
            if not labels or _fits(found, labels):
                rows.setdefault(group(found), []).append(row)
        return {value: self._sum(every) for value, every in sorted(rows.items())}

    def _sum(self, rows: Iterable[Points]) -> Points:
        every = list(rows)
        if len(every) == 1:
            return every[0]
        return [sum(step) for step in zip(*every, strict=True)] or [0.0] * len(self.times)


def history(minutes: int = 60, *, now: float | None = None) -> History:
    """Return the fleet's numbers of the last 10, 60, 360 or 1,440 minutes, in 10, 60, 72 or 96 steps.

    Raise FleetUnavailable if Redis does not answer; ``local`` has this process's numbers.
    """
    resolution, number = RANGES[minutes]
    now = time.time() if now is None else now
    last = int(now // resolution.seconds) * resolution.seconds
    times = [last - resolution.seconds * back for back in range(number - 1, -1, -1)]
    metrics_flusher.flush()
    try:
        stored = metrics_store.buckets_read(resolution, times)
        refusals = metrics_refusals.refusals_read(resolution, times)
    except redis.RedisError as error:
        raise FleetUnavailable from error
    return History(
        is_fleet=True,
        step=resolution.seconds,
        times=times,
        seconds=[float(resolution.seconds)] * (number - 1) + [max(1.0, now - last)],
        series=_series(stored.names, stored.numbers),
        processes=metrics_store.live(stored.processes, now=now),
        releases=_releases(stored.releases, since=times[0]),
        slow=metrics_store.slow_by_route(stored.slowest, most=20),
        refused=_most(refusals),
    )


def local(*, now: float | None = None) -> History:
    """Return this process's numbers since its start, as one step; slow requests and names are those not yet sent."""
    now = time.time() if now is None else now
    process = metrics_process.Heart().look()
    series: dict[str, dict[Labels, Points]] = {}
    for field, value in metrics_numbers.numbers().items():
        name, labels = metrics_numbers.field_read(field)
        series.setdefault(name, {})[labels] = [value]
    seconds = max(1.0, now - process.started)
    return History(
        is_fleet=False,
        step=max(1, int(seconds)),
        times=[int(process.started)],
        seconds=[seconds],
        series=series,
        processes=[process],
        releases=[Release(process.release, process.started)],
        slow={route: [slow] for route, slow in metrics_numbers.slowest().items()},
        refused=_most(metrics_refusals.refusals()),
    )


def _most(refusals: metrics_refusals.Refusals) -> dict[str, dict[str, int]]:
    return {
        policy: dict(sorted(names.items(), key=itemgetter(1), reverse=True)[:MOST_REFUSED])
        for policy, names in refusals.items()
    }


def _fits(found: Labels, labels: Mapping[str, str]) -> bool:
    return all(pair in found for pair in labels.items())


def _class_of(labels: Mapping[str, str]) -> str:
    code = labels.get("http_response_status_code", "")
    return f"{code[0]}xx" if len(code) == 3 else code


def _series(names: Mapping[bytes, bytes], stored: Sequence[Mapping[bytes, bytes]]) -> dict[str, dict[Labels, Points]]:
    rows: dict[bytes, Points] = {}
    for place, bucket in enumerate(stored):
        for field_id, value in zip(bucket, map(float, bucket.values()), strict=True):
            row = rows.get(field_id)
            if row is None:
                row = rows[field_id] = [0.0] * len(stored)
            row[place] = value
    series: dict[str, dict[Labels, Points]] = {}
    for field_id, row in rows.items():
        if field_id in names:  # a name that is being added is missing for a moment
            name, labels = metrics_numbers.field_read(names[field_id])
            series.setdefault(name, {})[labels] = row
    return series


def _releases(stored: Sequence[bytes], *, since: float) -> list[Release]:
    found: list[Release] = []
    for name, at in sorted((orjson.loads(one) for one in stored), key=lambda pair: pair[1]):
        if not found or found[-1].name != name:  # two processes of a release may have added it at the same moment
            found.append(Release(name, at))
    before = [release for release in found if release.at < since]
    return before[-1:] + [release for release in found if release.at >= since]
