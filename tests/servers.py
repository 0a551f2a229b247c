"""Faults of servers as context managers: the server is restored at the end of the block."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import redis

from tests.processes import frozen
from tools.stack import Stack

Fault = Callable[[Stack], AbstractContextManager[None]]


@contextlib.contextmanager
def redis_stopped(stack: Stack) -> Iterator[None]:
    with _stopped(stack, "redis"):
        yield


@contextlib.contextmanager
def redis_paused(stack: Stack) -> Iterator[None]:
    with frozen(stack.servers["redis"].pid):
        yield


@contextlib.contextmanager
def redis_flushed(stack: Stack) -> Iterator[None]:
    """Flush Redis repeatedly during the block."""
    over = threading.Event()

    def flush() -> None:
        with redis.Redis.from_url(stack.state.urls["REDIS_URL"]) as server:
            while not over.wait(0.1):
                server.flushall()

    thread = threading.Thread(target=flush)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)


@contextlib.contextmanager
def redis_full(stack: Stack) -> Iterator[None]:
    with redis.Redis.from_url(stack.state.urls["REDIS_URL"]) as server:
        server.config_set("maxmemory-policy", "noeviction")
        server.config_set("maxmemory", 1)
        try:
            yield
        finally:
            server.config_set("maxmemory", 0)


@contextlib.contextmanager
def postgresql_stopped(stack: Stack) -> Iterator[None]:
    with _stopped(stack, "postgresql"):
        yield


@contextlib.contextmanager
def postgresql_paused(stack: Stack) -> Iterator[None]:
    with frozen(stack.servers["postgresql"].pid):
        yield


@contextlib.contextmanager
def postgresql_restarted(stack: Stack) -> Iterator[None]:
    stack.restart("postgresql")
    yield


@contextlib.contextmanager
def _stopped(stack: Stack, name: str) -> Iterator[None]:
    stack.servers[name].stop()
    try:
        yield
    finally:
        stack.servers[name].start()
