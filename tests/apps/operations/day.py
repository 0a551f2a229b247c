"""A day of a service of fifty routes in Redis, as its processes leave it."""

import math
import random
from collections.abc import Iterator
from statistics import NormalDist

from apps.practices.mechanisms import metrics, metrics_process, metrics_store
from apps.practices.mechanisms.metrics import REQUESTS
from apps.practices.mechanisms.metrics_numbers import Slow, field_of

ROUTES = [f"/api/v1/{name}/{part}" for name in ("notes", "orders", "tides", "berths", "pilots") for part in range(10)]
COUNTERS = {
    "cache_lookups": ("source", {"local": 60, "redis": 20, "stale": 1, "built": 4}),
    "cache_single_flight": ("outcome", {"joined": 3, "stale": 1}),
    "mails": ("outcome", {"sent": 3, "failed": 1}),
    "limits_allowed": ("policy", {"anon": 300, "user": 500}),
    "throttled": ("policy", {"anon": 3, "user": 1}),
    "security_events": ("kind", {"sign-in": 5, "sign-in-failed": 2, "registered": 1}),
    "account_attempts_refused": ("purpose", {"sign-in": 1}),
    "process_cpu_seconds": ("role", {"web": 20, "worker": 8}),
    "process_memory_byte_seconds": ("role", {"web": 6e9, "worker": 3e9}),
}
JOBS = (("accounts.mail", "succeeded", 3), ("accounts.mail", "failed", 1), ("sample.count", "succeeded", 2))
_BOUNDS = metrics.bounds_of(REQUESTS)
_SIGMA = 0.7  # of the logarithms of durations


def day_write(*, now: float, minutes: int = 1440, routes: int = len(ROUTES), seed: int = 1) -> None:
    """Store what all processes counted, every minute of the last hour and every 15 of the day before."""
    chance = random.Random(seed)
    for back in [*range(min(60, minutes)), *range(60, minutes, 15)]:
        at = now - back * 60
        waves = (2 + math.sin(at / 6000) + chance.random() / 2) * (1 if back < 60 else 15)
        slow = {
            route: Slow(chance.expovariate(4), "GET", 200, f"01a22d2f-9e9d-70cd-9b07-{back:08x}{place:04x}", at)
            for place, route in enumerate(ROUTES[:routes])
        }
        metrics_store.add(dict(_counted(chance, waves, ROUTES[:routes])), slow, at=at)


def processes_write(*, now: float, alive_until: float) -> None:
    """Store the rows of two instances and two workers, and two releases."""
    for number, (role, host, release, ago) in enumerate(
        (
            ("web", "web-1", "v41", 80_000),
            ("web", "web-1", "v42", 1500),
            ("web", "web-2", "v42", 1480),
            ("worker", "worker-1", "v42", 1470),
            ("worker", "worker-2", "v42", 1460),
        )
    ):
        gauges = {
            metrics_process.CORES: 0.2 + number / 10,
            metrics_process.MEMORY: (90 + number) * 2**20,
            "process_open_fds": 40,
            metrics_process.series("shipshape_breaker_open", dependency="broker"): float(role == "worker"),
            "process_threads": 9,
            "db_client_connection_used": number,
            "db_client_connection_max": 7,
            "db_client_connection_pending_requests": 0,
        }
        seen = alive_until if release == "v42" else now - 60
        row = metrics_process.Process(f"day-{number}", role, host, 100 + number, release, now - ago, seen, gauges)
        metrics_store.process_started(row)
        metrics_store.process_write(row)


def _counted(chance: random.Random, waves: float, routes: list[str]) -> Iterator[tuple[bytes, float]]:
    for place, route in enumerate(routes):
        yield from _requests(chance, waves, route, median=0.004 + place / 1000, fails=place % 10 == 0)
    for operation, amount in (("SELECT", 400), ("UPDATE", 40), ("INSERT", 20)):
        for bound, number in _spread(amount * waves, median=0.001):
            labels = {"db_operation_name": operation, "db_system_name": "postgresql", "le": bound}
            yield field_of("db_client_operation_duration_seconds_bucket", labels), number
    for name, (label, values) in COUNTERS.items():
        for value, amount in values.items():
            yield field_of(f"{metrics.PREFIX}{name}_total", {label: value}), round(amount * waves * chance.random(), 2)
    for kind, outcome, amount in JOBS:
        yield (
            field_of(f"{metrics.PREFIX}jobs_attempts_total", {"kind": kind, "outcome": outcome}),
            round(amount * waves),
        )
        for name in ("wait", "run"):
            for bound in ("0.1", "0.5", "1.0"):
                yield field_of(f"{metrics.PREFIX}jobs_{name}_seconds_bucket", {"kind": kind, "le": bound}), 1


def _spread(amount: float, *, median: float) -> Iterator[tuple[str, int]]:
    """Yield the buckets of so many durations of seconds, log-normal, and how many are in each."""
    before, normal = 0.0, NormalDist(math.log(median), _SIGMA)
    for bound in _BOUNDS:
        share = normal.cdf(math.log(float(bound)))
        if number := round((share - before) * amount):
            yield bound, number
        before = share


def _requests(
    chance: random.Random, waves: float, route: str, *, median: float, fails: bool
) -> Iterator[tuple[bytes, float]]:
    requests = 0
    for status, share in (("200", 1.0), ("404", 0.05), ("500", 0.01 if fails else 0.0)):
        labels = {"http_route": route, "http_request_method": "GET", "http_response_status_code": status}
        for bound, number in _spread(100 * share * waves * chance.random(), median=median):
            yield field_of(f"{REQUESTS}_bucket", {**labels, "le": bound}), number
            requests += number
        yield field_of(f"{REQUESTS}_sum", labels), share
    of_route = {"http_route": route, "http_request_method": "GET"}
    yield field_of(f"{metrics.PREFIX}request_queries_total", of_route), 3 * requests
    yield field_of(f"{metrics.PREFIX}request_query_seconds_total", of_route), 0.006 * requests
