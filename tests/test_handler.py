"""The handler disconnects Django's receivers that would do nothing, and only those."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import close_caches
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal

from project.handler import receivers_disconnect

RECEIVERS: list[tuple[Signal, Callable[..., Any]]] = [
    (request_started, reset_queries),
    (request_started, close_old_connections),
    (request_finished, close_caches),
    (request_finished, close_old_connections),
]


@pytest.fixture(autouse=True)
def receivers() -> Iterator[None]:
    """Connect all receivers, as Django does, and afterwards those that were."""
    before = _connected()
    for signal, receiver in RECEIVERS:
        signal.connect(receiver)
    yield
    for entry, was_connected in zip(RECEIVERS, before, strict=True):
        if not was_connected:
            entry[0].disconnect(entry[1])


def _connected() -> list[bool]:
    """Return which receivers are connected: disconnecting says so."""
    connected = [signal.disconnect(receiver) for signal, receiver in RECEIVERS]
    for (signal, receiver), was_connected in zip(RECEIVERS, connected, strict=True):
        if was_connected:
            signal.connect(receiver)
    return connected


def _cache(backend: str) -> dict[str, Any]:
    return {"CACHES": {"default": {"BACKEND": "django_redis.cache.RedisCache"}, "other": {"BACKEND": backend}}}


@pytest.mark.parametrize(
    ("changed", "connected"),
    [
        ({}, [False, False, False, True]),
        ({"DEBUG": True}, [True, False, False, True]),
        ({"DATABASES": {"default": {"CONN_MAX_AGE": 60}}}, [False, True, False, True]),
        (
            {"DATABASES": {"default": {"CONN_MAX_AGE": 0}, "replica": {"CONN_MAX_AGE": None}}},
            [False, True, False, True],
        ),
        (_cache("django.core.cache.backends.memcached.PyMemcacheCache"), [False, False, True, True]),
        ({"DJANGO_REDIS_CLOSE_CONNECTION": True}, [False, False, True, True]),
    ],
)
def test_idle_receivers_are_disconnected(monkeypatch: pytest.MonkeyPatch, changed: Any, connected: list[bool]) -> None:
    class Settings:
        DEBUG = False
        DATABASES: Any = {"default": {"CONN_MAX_AGE": 0}}
        CACHES: Any = {"default": {"BACKEND": "django_redis.cache.RedisCache"}}

    for name, value in changed.items():
        setattr(Settings, name, value)
    monkeypatch.setattr("project.handler.settings", Settings)
    receivers_disconnect()
    assert _connected() == connected
