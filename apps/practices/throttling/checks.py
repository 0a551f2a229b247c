"""System checks of throttling."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.urls import URLPattern, URLResolver, get_resolver

from apps.practices.throttling.throttles import ScopeThrottle

REQUIRED = ("address", "anon", "user", "login")


@register(Tags.security)
def check_throttling(**_: Any) -> list[CheckMessage]:
    """Report E001: a missing or invalid policy; E002: form limits not shared or failing closed; E003: a scope without policy."""
    return list(_errors())


def _errors() -> Iterator[Error]:
    policies = settings.THROTTLING_POLICIES
    for name in dict.fromkeys((*REQUIRED, *policies)):
        if not _is_rate(policies.get(name)):
            text = f'THROTTLING_POLICIES["{name}"] must be (requests, seconds): two whole numbers above 0.'
            hint = "Write THROTTLE_ADDRESS, THROTTLE_ANON, THROTTLE_USER and THROTTLE_LOGIN as 100/15m."
            yield Error(text, hint=hint, id="throttling.E001")
    cache = settings.CACHES.get(settings.RATELIMIT_USE_CACHE, {})
    if cache.get("BACKEND") != "django_redis.cache.RedisCache" or settings.RATELIMIT_FAIL_OPEN is not True:
        text = "django-ratelimit does not count in a shared Redis cache, or does not fail open."
        hint = "Set RATELIMIT_USE_CACHE to a django-redis cache, and RATELIMIT_FAIL_OPEN to True."
        yield Error(text, hint=hint, id="throttling.E002")
    callbacks = [pattern.callback for pattern in _patterns(get_resolver().url_patterns)]
    views: set[Any] = {getattr(callback, "cls") for callback in callbacks if hasattr(callback, "cls")}  # noqa: B009 - DRF's
    for view in sorted(views, key=lambda view: view.__qualname__):
        scope = getattr(view, "throttle_scope", None)
        if ScopeThrottle in getattr(view, "throttle_classes", ()) and scope not in policies:
            where = f"{view.__module__}.{view.__qualname__}.throttle_scope"
            text = f"{where} is not a policy, so requests are not limited."
            hint = "Add it to THROTTLING_POLICIES as (requests, seconds)."
            yield Error(text, hint=hint, id="throttling.E003")


def _is_rate(rate: object) -> bool:
    return isinstance(rate, tuple) and len(rate) == 2 and all(isinstance(number, int) and number > 0 for number in rate)


def _patterns(patterns: Iterable[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns)
        else:
            yield pattern
