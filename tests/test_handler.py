"""The handler leaves out what Django would do for nothing: receivers, and a method for each setting that is read."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import close_caches
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal
from django.test import override_settings

from project.handler import receivers_disconnect, settings_read_directly

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


def test_settings_that_change_are_read_again() -> None:
    settings_read_directly()
    with override_settings(CACHING_PREFIX="first"):
        assert settings.CACHING_PREFIX == "first"
        with override_settings(CACHING_PREFIX="second"):
            assert settings.CACHING_PREFIX == "second"
        assert settings.CACHING_PREFIX == "first"
        settings.CACHING_PREFIX = "third"
        assert settings.CACHING_PREFIX == "third"
        del settings.CACHING_PREFIX
        with pytest.raises(AttributeError):
            _ = settings.CACHING_PREFIX
    assert settings.CACHING_PREFIX not in ("first", "second", "third")
    assert "CACHING_PREFIX" in dir(settings)
    assert not hasattr(settings, "NO_SUCH_SETTING")
    assert settings.configured
    assert settings.is_overridden("DATABASES")


def test_settings_are_found_without_a_method() -> None:
    calls: list[str] = []
    _ = settings.CACHING_PREFIX
    profiler = sys.getprofile()
    sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        _ = settings.CACHING_PREFIX
    finally:
        sys.setprofile(profiler)
    assert "__getattribute__" not in calls
