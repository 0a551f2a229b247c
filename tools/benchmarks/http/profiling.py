"""Where the time of one request goes: the WSGI application is called in this process, without a server and sockets of clients.

Three passes: requests alone, for the processor time of one; requests with samples of the stack (ITIMER_PROF: by processor
time, so that nothing is slowed down and waits do not count); and a few under cProfile, which counts calls. A sample belongs to
the layer of its innermost frame that has one: the standard library and C code count for what called them.
"""

import cProfile
import gc
import itertools
import pstats
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from operator import itemgetter
from pathlib import Path
from types import FrameType
from typing import Any

from tools.fleet import ROOT

from .requests import call
from .works import Work

# Seconds between samples. The kernel rounds them up to its tick, often 4 ms, so --seconds decides how exact the shares are. A
# timer by the wall's clock would be finer, but it expires during waits, and so finds mostly the frames that wait.
INTERVAL = 0.001
BATCH = 50
WARM = 30
# A layer's name and parts of paths; the first that fits. What fits none, as the standard library and django/utils, belongs to
# the layer that called it.
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("psycopg", ("/psycopg",)),
    ("Redis client", ("/redis/", "/django_redis/", "mechanisms/redis", "mechanisms/breaker")),
    ("ORM", ("/django/db/", "apps/practices/database/")),
    ("limits", ("apps/practices/throttling/",)),
    ("cache", ("apps/practices/caching/", "/django/core/cache/")),
    ("headers", ("apps/practices/headers/", "apps/practices/https/", "/corsheaders/", "/csp/", "/django/middleware/")),
    ("log, metrics", ("apps/practices/observability/", "structlog/", "mechanisms/metrics", "/prometheus_client/")),
    ("routing", ("/django/urls/", "mechanisms/facts", "project/handler")),
    (
        "session, token",
        ("apps/accounts/services/", "apps/accounts/authentication", "apps/accounts/transports", "/jwt/"),
    ),
    ("rights", ("/django/contrib/auth/", "/permissions.py")),
    ("errors", ("apps/practices/errors/",)),
    ("serializers", ("/rest_framework/serializers", "/rest_framework/fields", "/serializers.py", "/validation/")),
    ("renderer", ("mechanisms/json", "/orjson/")),
    ("DRF", ("/rest_framework/", "mechanisms/requests")),
    ("request, response", ("/django/http/",)),
    ("Django's handler", ("/django/core/handlers/", "/django/dispatch/", "/django/views/")),
    ("views, selectors", ("apps/",)),
    ("this tool", ("benchmarks/http/",)),
)
# Calls that are one round trip each, or one statement: file and function.
_ROUND_TRIPS = {
    "postgresql_trips": ("psycopg/connection.py", "wait"),
    "redis_trips": ("redis/connection.py", "send_packed_command"),
}


class Sampler:
    """Counts samples by layer, by function (its own code) and by function (with everything it calls)."""

    def __init__(self) -> None:
        self.layers: Counter[str] = Counter()
        self.own: Counter[str] = Counter()
        self.inclusive: Counter[str] = Counter()

    def __enter__(self) -> "Sampler":
        self._before = signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        return self

    def __exit__(self, *failure: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self._before)

    def _sample(self, number: int, frame: FrameType | None) -> None:
        layer, seen = None, set()
        first = True
        while frame is not None:
            path = frame.f_code.co_filename
            if path == __file__:
                break
            name = f"{_short(path)}:{frame.f_code.co_qualname}"
            if first:
                self.own[name] += 1
                first = False
            seen.add(name)
            layer = layer or layer_of(path)
            frame = frame.f_back
        self.inclusive.update(seen)
        self.layers[layer or "other"] += 1


def profiled(work: Work, *, seconds: float) -> dict[str, Any]:
    """Return microseconds of processor time by layer and by function, and the calls and round trips of one request."""
    requests = itertools.cycle(work.requests)

    def once() -> None:
        call(next(requests))

    for _ in range(WARM):
        once()
    best_us, mean_us = _timed(once, seconds / 3)
    with Sampler() as sampler:
        _timed(once, seconds)
    samples = sampler.layers.total()

    def microseconds(counts: Counter[str], most: int | None = None) -> dict[str, float]:
        return {name: number / max(samples, 1) * mean_us for name, number in counts.most_common(most)}

    return {
        "name": work.name,
        "what": work.what,
        "request_us": mean_us,
        "best_us": best_us,
        "samples": samples,
        "layers_us": microseconds(sampler.layers),
        "own_us": microseconds(sampler.own, 25),
        "inclusive_us": microseconds(sampler.inclusive, 60),
        **calls_counted(once),
    }


def _timed(once: Callable[[], None], seconds: float) -> tuple[float, float]:
    """Return the microseconds of processor time of a call: of the best batch of 50, and of all."""
    best, calls = float("inf"), 0
    end = time.perf_counter() + seconds
    start = time.process_time()
    while calls < BATCH or time.perf_counter() < end:
        before = time.process_time()
        for _ in range(BATCH):
            once()
        best = min(best, time.process_time() - before)
        calls += BATCH
    return best / BATCH * 1e6, (time.process_time() - start) / calls * 1e6


def calls_counted(once: Callable[[], Any]) -> dict[str, Any]:
    """Return the Python calls, by layer too, and the round trips of one request: the one of some with the fewest calls.

    The others did what is done once in a while, as the check of a session.
    """
    return min((_counted_once(once) for _ in range(20)), key=itemgetter("calls"))


def _counted_once(once: Callable[[], Any]) -> dict[str, Any]:
    profile = cProfile.Profile()
    gc.disable()
    try:
        profile.runcall(once)
    finally:
        gc.enable()
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]  # which typeshed leaves out
    calls: Counter[str] = Counter()
    trips = dict.fromkeys(_ROUND_TRIPS, 0)
    for (path, _, function), (_, number, *_) in stats.items():
        calls[layer_of(path) or "standard library, C"] += number
        for trip, (file, name) in _ROUND_TRIPS.items():
            trips[trip] += number if function == name and path.endswith(file) else 0
    return {"calls": calls.total(), "calls_by_layer": dict(calls.most_common()), **trips}


@cache
def layer_of(path: str) -> str | None:
    """Return the layer that a file belongs to, or None: then what called it decides."""
    short = _short(path)
    return next((layer for layer, parts in LAYERS if any(part in short for part in parts)), None)


@cache
def _short(path: str) -> str:
    """Return a path within the project, ``/package/…`` for a library, ``~/…`` for the standard library."""
    if "site-packages" in path:
        return path.rpartition("site-packages")[2]
    if path.startswith(f"{ROOT}/"):
        return path.removeprefix(f"{ROOT}/")
    return "~/" + "/".join(Path(path).parts[-2:])
