"""System checks of caching."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from apps.practices.mechanisms.redis import GuardedCacheClient, JSONOrBytes


@register(Tags.caches)
def check_caching(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report E001: a default cache that is not shared and guarded; E002: pickled values; E003: a bound below 1."""
    return [*_check_client(), *_check_bounds()]


def _check_client() -> list[CheckMessage]:
    cache: dict[str, Any] = settings.CACHES.get("default", {})
    options: dict[str, Any] = cache.get("OPTIONS", {})
    guarded = options.get("IGNORE_EXCEPTIONS") is True and _is_subclass(options.get("CLIENT_CLASS"), GuardedCacheClient)
    if cache.get("BACKEND") != "django_redis.cache.RedisCache" or not guarded:
        return [
            Error(
                'CACHES["default"] is not django-redis with GuardedCacheClient and IGNORE_EXCEPTIONS.',
                hint="Restore them. Without them processes share no cache, or each request waits for an unavailable Redis.",
                id="caching.E001",
            )
        ]
    if not _is_subclass(options.get("SERIALIZER"), JSONOrBytes):
        return [
            Error(
                'CACHES["default"] unpickles values from Redis.',
                hint="Set SERIALIZER to JSONOrBytes.",
                id="caching.E002",
            )
        ]
    return []


def _is_subclass(path: str | None, wanted: type) -> bool:
    try:
        imported = import_string(path or "")
    except (ImportError, ImproperlyConfigured):
        return False
    return isinstance(imported, type) and issubclass(imported, wanted)


def _check_bounds() -> list[CheckMessage]:
    names = ("CACHING_LOCAL_ENTRIES", "CACHING_LOCAL_BYTES")
    return [
        Error(
            f"{name} is below 1.",
            hint="Raise it. To switch the local tier off, set CACHE_LOCAL_SECONDS=0.",
            id="caching.E003",
        )
        for name in names
        if getattr(settings, name) <= 0
    ]
