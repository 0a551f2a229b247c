"""caching (128): each process's memory, and behind it Redis with short timeouts and a circuit breaker."""

from settings.env import ENVIRONMENT

CACHING_PREFIX: str = ENVIRONMENT["REDIS_PREFIX"]  # of cached responses and values, tags, locks and limits
CACHING_LOCAL_SECONDS = ENVIRONMENT["CACHE_LOCAL_SECONDS"]
CACHING_LOCAL_BYTES = 32 * 1024**2
# Your cookies that make a response private. A request with one of them neither gets nor becomes a shared response. The cookies
# of sessions always count.
CACHING_PRIVATE_COOKIES: tuple[str, ...] = ()

CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": ENVIRONMENT["CACHE_URL"] or ENVIRONMENT["REDIS_URL"] or "redis://127.0.0.1:6379/0",
        "KEY_PREFIX": CACHING_PREFIX,
        "TIMEOUT": 60,
        "OPTIONS": {
            "CLIENT_CLASS": "apps.practices.mechanisms.redis.GuardedCacheClient",
            "SERIALIZER": "apps.practices.mechanisms.redis.JSONOrBytes",
            "SOCKET_CONNECT_TIMEOUT": 0.2,
            "SOCKET_TIMEOUT": 0.25,
            "IGNORE_EXCEPTIONS": True,
        },
    }
}
