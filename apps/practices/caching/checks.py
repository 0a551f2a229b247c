"""System checks of caching."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from apps.practices.mechanisms.redis import GuardedCacheClient, JSONOrBytes


@register(Tags.caches)
def check_caching(**_: Any) -> list[CheckMessage]:
    """Report E001: a default cache that is not shared and guarded; E002: pickled values."""
    return list(_errors())


def _errors() -> Iterator[Error]:
    cache: dict[str, Any] = settings.CACHES.get("default", {})
    options: dict[str, Any] = cache.get("OPTIONS", {})
    guarded = options.get("IGNORE_EXCEPTIONS") is True and _is_subclass(options.get("CLIENT_CLASS"), GuardedCacheClient)
    if cache.get("BACKEND") != "django_redis.cache.RedisCache" or not guarded:
        text = 'CACHES["default"] is not django-redis with GuardedCacheClient and IGNORE_EXCEPTIONS.'
        hint = "Restore them. Without them processes share no cache, or each request waits for an unavailable Redis."
        yield Error(text, hint=hint, id="caching.E001")
    elif not _is_subclass(options.get("SERIALIZER"), JSONOrBytes):
        hint = "Set SERIALIZER to JSONOrBytes."
        yield Error('CACHES["default"] unpickles values from Redis.', hint=hint, id="caching.E002")


def _is_subclass(path: str | None, wanted: type) -> bool:
    try:
        imported = import_string(path or "")
    except (ImportError, ImproperlyConfigured):
        return False
    return isinstance(imported, type) and issubclass(imported, wanted)
