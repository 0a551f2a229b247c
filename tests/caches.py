"""Empty caches and limits for tests."""

from django.conf import settings

from apps.practices.caching.engine import local
from apps.practices.caching.tags import tags_reset
from apps.practices.mechanisms.redis import redis_client
from apps.practices.throttling.limiter import local_limiter


def caches_clear() -> None:
    """Empty the local tier, and delete this project's keys in Redis: entries, tags, cached values, limits."""
    local.clear()
    tags_reset()
    local_limiter.clear()
    client = redis_client()
    client.breaker.reset()
    keys = list(client.scan_iter(match=f"{settings.CACHING_PREFIX}:*", count=1000))
    if keys:
        client.unlink(*keys)
