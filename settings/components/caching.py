"""caching (128): Redis behind short timeouts and a breaker, and each process's own memory before it."""

from settings.env import ENVIRONMENT

CACHING_PREFIX: str = ENVIRONMENT["REDIS_PREFIX"]  # of cached answers and values, tags, locks and limits
CACHING_LOCAL_SECONDS = ENVIRONMENT["CACHE_LOCAL_SECONDS"]
CACHING_LOCAL_ENTRIES = 2048
CACHING_LOCAL_BYTES = 32 * 1024**2
# A request that carries one of these may have an answer of its own: it is never served, or stored as, the public one.
# Those of a sign-in and of a session always count; here go your own.
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
