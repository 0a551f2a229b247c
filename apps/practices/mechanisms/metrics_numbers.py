"""The numbers of this process: one number a field, which only grows, and the slowest request of each route.

A field is a sample's name and labels as JSON. A histogram has a field for each bucket (not cumulated) and one for its sum, so
that an event changes two numbers. Plain numbers in a dict, because every process sends what has changed every second:
prometheus_client's registry takes 90 ms to list a thousand histograms (0.24), a dictionary of the same 1 ms.
"""

import os
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import orjson

Labels = tuple[tuple[str, str], ...]  # sorted by name


@dataclass(frozen=True, slots=True)
class Slow:
    """A slow request. It has no path and no query: the id leads to its access line."""

    seconds: float
    method: str
    status: int
    request_id: str
    at: float  # seconds since 1970


_numbers: defaultdict[bytes, float] = defaultdict(float)
_slowest: dict[str, Slow] = {}  # by route, since the last time they were sent
_lock = Lock()


def add(field: bytes, amount: float) -> None:
    """Add to a number."""
    with _lock:
        _numbers[field] += amount


def add_all(*changes: tuple[bytes, float]) -> None:
    """Add to several numbers."""
    with _lock:
        for field, amount in changes:
            _numbers[field] += amount


def numbers() -> dict[bytes, float]:
    """Return a copy of all numbers by field."""
    with _lock:
        return dict(_numbers)


def slow_keep(route: str, seconds: float, method: str, status: int, request_id: str) -> None:
    """Keep a request if it is the slowest of its route. Of two that end at the same moment, either may be kept."""
    kept = _slowest.get(route)
    if kept is None or seconds > kept.seconds:
        _slowest[route] = Slow(seconds, method, status, request_id, time.time())


def slowest() -> dict[str, Slow]:
    """Return the slowest requests by route, since those that ``slowest_sent`` removed."""
    return _slowest.copy()


def slowest_sent(sent: Mapping[str, Slow]) -> None:
    """Forget these requests, unless a slower one has replaced them."""
    for route, slow in sent.items():
        if _slowest.get(route) is slow:
            _slowest.pop(route, None)


def field_of(name: str, labels: Mapping[str, str]) -> bytes:
    """Return the field of a sample."""
    # A copy, since fields are kept: the buffer that orjson returns takes at least 4 KiB.
    return bytes(memoryview(orjson.dumps([name, labels], option=orjson.OPT_SORT_KEYS)))


@lru_cache(maxsize=16_384)
def field_read(field: bytes) -> tuple[str, Labels]:
    """Return the sample name and the sorted labels of a field."""
    name, labels = orjson.loads(field)
    return name, tuple(labels.items())


def _after_fork() -> None:
    """Reset a child process: another thread of its parent may have held the lock."""
    global _lock
    _lock = Lock()
    _slowest.clear()


os.register_at_fork(after_in_child=_after_fork)
