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
    """E001: the default cache is not shared and guarded. E002: its values are pickled. E003: a bound is not positive."""
    return [*_check_client(), *_check_bounds()]


def _check_client() -> list[CheckMessage]:
    cache: dict[str, Any] = settings.CACHES.get("default", {})
    options: dict[str, Any] = cache.get("OPTIONS", {})
    guarded = options.get("IGNORE_EXCEPTIONS") is True and _is(options.get("CLIENT_CLASS"), GuardedCacheClient)
    if cache.get("BACKEND") != "django_redis.cache.RedisCache" or not guarded:
        return [
            Error(
                'CACHES["default"] is not django-redis behind the guarded client with IGNORE_EXCEPTIONS.',
                hint="Processes would not share it, or each request would wait for a Redis that is away.",
                id="caching.E001",
            )
        ]
    if not _is(options.get("SERIALIZER"), JSONOrBytes):
        return [Error('CACHES["default"] would unpickle what is in Redis.', hint="Use JSONOrBytes.", id="caching.E002")]
    return []


def _is(path: str | None, wanted: type) -> bool:
    try:
        found = import_string(path or "")
    except (ImportError, ImproperlyConfigured):
        return False
    return isinstance(found, type) and issubclass(found, wanted)


def _check_bounds() -> list[CheckMessage]:
    names = ("CACHING_LOCAL_ENTRIES", "CACHING_LOCAL_BYTES")
    return [
        Error(f"{name} must be above 0.", hint="CACHE_LOCAL_SECONDS=0 switches tier one off.", id="caching.E003")
        for name in names
        if getattr(settings, name) <= 0
    ]
