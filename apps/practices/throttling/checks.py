"""System checks of throttling."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.urls import URLPattern, URLResolver, get_resolver

from apps.practices.throttling.throttles import ScopeThrottle

REQUIRED = ("address", "anon", "user", "login")


@register(Tags.security)
def check_throttling(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report E001: a missing or invalid policy; E002: form limits not shared or failing closed; E003: a scope without policy."""
    return [*_check_policies(), *_check_forms(), *_check_scopes()]


def _check_policies() -> list[CheckMessage]:
    policies = settings.THROTTLING_POLICIES
    wrong = [name for name in REQUIRED if name not in policies]
    wrong += [name for name, rate in policies.items() if not _is_rate(rate)]
    return [
        Error(
            f'THROTTLING_POLICIES["{name}"] must be (requests, seconds): two whole numbers above 0.',
            hint="Write THROTTLE_ADDRESS, THROTTLE_ANON, THROTTLE_USER and THROTTLE_LOGIN as 100/15m.",
            id="throttling.E001",
        )
        for name in wrong
    ]


def _is_rate(rate: object) -> bool:
    return isinstance(rate, tuple) and len(rate) == 2 and all(isinstance(number, int) and number > 0 for number in rate)


def _check_forms() -> list[CheckMessage]:
    cache = settings.CACHES.get(settings.RATELIMIT_USE_CACHE, {})
    if cache.get("BACKEND") == "django_redis.cache.RedisCache" and settings.RATELIMIT_FAIL_OPEN is True:
        return []
    return [
        Error(
            "django-ratelimit does not count in a shared Redis cache, or does not fail open.",
            hint="Set RATELIMIT_USE_CACHE to a django-redis cache, and RATELIMIT_FAIL_OPEN to True.",
            id="throttling.E002",
        )
    ]


def _check_scopes() -> list[CheckMessage]:
    views = {
        view for pattern in _patterns(get_resolver().url_patterns) if (view := getattr(pattern.callback, "cls", None))
    }
    return [
        Error(
            f"{view.__module__}.{view.__qualname__}.throttle_scope is not a policy, so requests are not limited.",
            hint="Add it to THROTTLING_POLICIES as (requests, seconds).",
            id="throttling.E003",
        )
        for view in sorted(views, key=lambda view: view.__qualname__)
        if ScopeThrottle in getattr(view, "throttle_classes", ())
        and getattr(view, "throttle_scope", None) not in settings.THROTTLING_POLICIES
    ]


def _patterns(patterns: Iterable[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns)
        else:
            yield pattern
