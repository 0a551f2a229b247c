"""System checks of throttling."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

NEEDED = ("address", "anon", "user", "login")


@register(Tags.security)
def check_throttling(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001: a policy is missing or no pair of positive numbers. E002: form limits are not shared, or fail closed."""
    return [*_check_policies(), *_check_forms()]


def _check_policies() -> list[CheckMessage]:
    policies = settings.THROTTLING_POLICIES
    wrong = [name for name in NEEDED if name not in policies]
    wrong += [name for name, rate in policies.items() if not _is_rate(rate)]
    return [
        Error(
            f'THROTTLING_POLICIES["{name}"] must be (requests, seconds), both whole numbers above 0.',
            hint="THROTTLE_ADDRESS, _ANON, _USER and _LOGIN are written as 100/15m.",
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
            "django-ratelimit must count in a shared Redis cache and fail open.",
            hint="RATELIMIT_USE_CACHE names a django-redis cache; RATELIMIT_FAIL_OPEN is True.",
            id="throttling.E002",
        )
    ]
