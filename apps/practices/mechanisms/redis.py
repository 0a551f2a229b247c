"""Redis behind short timeouts and a circuit breaker: a server that is away or hung costs a fraction of a second, once.

``GuardedCacheClient`` is the CLIENT_CLASS of ``CACHES["default"]``: with IGNORE_EXCEPTIONS a plain ``cache.get()`` answers
its default when Redis does not answer. ``redis_client()`` is the same connection pool for the code that speaks Redis itself:
the cache engine, the limiter, the metrics.
"""

from collections.abc import Callable
from typing import Any, ClassVar, cast

import orjson
from django.core.cache import caches
from django_redis.client import DefaultClient
from django_redis.exceptions import ConnectionInterrupted
from django_redis.pool import ConnectionFactory
from django_redis.serializers.base import BaseSerializer
from redis.client import Pipeline, Redis
from redis.connection import ConnectionPool
from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, RedisError, ResponseError, TimeoutError

from apps.practices.mechanisms.breaker import Breaker
from apps.practices.mechanisms.json import json_bytes

# No answer, or an answer that says the server cannot serve: what the breaker counts.
AWAY = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError)


class RedisAway(ConnectionError):
    """The breaker is open: the call was not even tried."""


def guarded(breaker: Breaker, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Make one call to Redis if the breaker allows it, and tell the breaker how it went."""
    if not breaker.allows():
        raise RedisAway("Redis is away")
    try:
        answer = call(*args, **options)
    except AWAY as error:
        breaker.failed(error)
        raise
    except ResponseError:
        breaker.succeeded()  # it answered; that the answer is an error is the caller's business
        raise
    breaker.succeeded()
    return answer


class GuardedPool(ConnectionPool):
    """The connections of this process to one server, and what it knows about that server's health."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.breaker = Breaker("redis")


class GuardedPipeline(Pipeline):
    """A pipeline whose one round trip passes the breaker."""

    connection_pool: GuardedPool

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        return cast(list[Any], guarded(self.connection_pool.breaker, super().execute, raise_on_error))


class GuardedRedis(Redis):
    """A redis-py client every command of which passes the breaker of its server."""

    connection_pool: GuardedPool

    @property
    def breaker(self) -> Breaker:
        """The breaker of the server behind this client's pool, one a process."""
        return self.connection_pool.breaker

    def execute_command(self, *args: Any, **options: Any) -> Any:
        return guarded(self.breaker, super().execute_command, *args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return GuardedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class GuardedConnectionFactory(ConnectionFactory):
    """Builds guarded clients on pools of their own, one pool and one breaker a server."""

    _pools: ClassVar[dict[str, Any]] = {}

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.redis_client_cls = GuardedRedis
        self.pool_cls = GuardedPool


class JSONOrBytes(BaseSerializer):
    """Values are JSON, or bytes as they are; never pickle, which would run what whoever writes to Redis sends.

    One leading byte tells them apart. What cannot be read, such as another version's leftover, is a miss.
    """

    def dumps(self, value: Any) -> bytes:
        return b"b" + value if isinstance(value, bytes) else b"j" + json_bytes(value)

    def loads(self, value: bytes) -> Any:
        if value[:1] == b"b":
            return value[1:]
        try:
            if value[:1] == b"j":
                return orjson.loads(value[1:])
        except orjson.JSONDecodeError as error:
            raise ConnectionInterrupted(connection=None) from error
        raise ConnectionInterrupted(connection=None) from ResponseError("a cache value of unknown form")


def _interrupting(name: str) -> Any:
    """``DefaultClient``'s method ``name``, its errors turned into the one that IGNORE_EXCEPTIONS is about."""
    plain = getattr(DefaultClient, name)

    def method(self: DefaultClient, *args: Any, **kwargs: Any) -> Any:
        try:
            return plain(self, *args, **kwargs)
        except RedisError as error:
            raise ConnectionInterrupted(connection=None) from error

    method.__name__ = name
    return method


class GuardedCacheClient(DefaultClient):
    """django-redis's client on guarded connections, with the methods that let raw Redis errors through caught as well."""

    def __init__(self, server: Any, params: dict[str, Any], backend: Any) -> None:
        super().__init__(server, params, backend)
        self.connection_factory = GuardedConnectionFactory(self._options)

    expire = _interrupting("expire")
    expire_at = _interrupting("expire_at")
    pexpire = _interrupting("pexpire")
    pexpire_at = _interrupting("pexpire_at")
    persist = _interrupting("persist")
    ttl = _interrupting("ttl")
    pttl = _interrupting("pttl")
    touch = _interrupting("touch")
    keys = _interrupting("keys")

    def clear(self, client: Any = None) -> None:
        """Delete this project's cached values alone: FLUSHDB would take the queue and the metrics with them."""
        self.delete_pattern("*", client=client, itersize=500)


def redis_client() -> GuardedRedis:
    """This function will return the process's client of CACHE_URL; each command may raise ``redis.RedisError`` quickly."""
    backend = cast(Any, caches["default"])
    return cast(GuardedRedis, backend.client.get_client(write=True))
