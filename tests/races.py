"""Races: calls that begin at the same moment, each in its own thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def at_once(count: int, call: Callable[[int], T]) -> list[T]:
    """Call ``call(0)`` to ``call(count - 1)`` at the same moment, and return their results in this order."""
    start = Barrier(count)

    def meet_and_call(number: int) -> T:
        start.wait(timeout=30)
        return call(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda number: in_thread(meet_and_call, number), range(count)))


def in_thread(call: Callable[..., T], *arguments: object) -> T:
    """Call in a thread other than the test's, and close the thread's database connections afterwards."""
    try:
        return call(*arguments)
    finally:
        connections.close_all()
