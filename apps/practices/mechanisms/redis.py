"""Redis with short timeouts and a circuit breaker: a server that is down or hangs costs a fraction of a second, once.

``GuardedCacheClient`` is the CLIENT_CLASS of ``CACHES["default"]``. With IGNORE_EXCEPTIONS, ``cache.get()`` returns its
default if Redis does not answer. ``redis_client()`` returns a client on the same connection pool for code that sends Redis
commands itself. ``redis_trip()`` is the short way for what every request needs, the limiter and the cache: redis-py's client
takes 40 to 55 µs of processor time for a command, its connection 15 (decision 0052).
"""

import os
import select
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any, ClassVar, cast

import orjson
from django.core.cache import caches
from django.core.signals import setting_changed
from django_redis.client import DefaultClient
from django_redis.exceptions import ConnectionInterrupted
from django_redis.pool import ConnectionFactory
from django_redis.serializers.base import BaseSerializer
from hiredis import pack_command
from redis.client import Pipeline, Redis
from redis.connection import Connection, ConnectionPool
from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, RedisError, ResponseError, TimeoutError

from apps.practices.mechanisms import traces
from apps.practices.mechanisms.breaker import Breaker
from apps.practices.mechanisms.json import json_bytes

# Return a command as it is sent. (The stub of hiredis 3.5 allows tuples of one alone.)
redis_command = cast(Callable[[tuple[Any, ...]], bytes], pack_command)

# Failures that the breaker counts: no reply, or one that says that the server cannot serve.
_UNAVAILABLE = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError)


class RedisUnavailable(ConnectionError):
    """The breaker is open; the call was not tried."""


def guarded(breaker: Breaker, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Make one call to Redis if the breaker allows it, and record the outcome. Raise RedisUnavailable if it does not."""
    if not breaker.allows():
        raise RedisUnavailable("Redis is unavailable")
    if traces.recorder is not None:
        call = partial(_recorded, call)
    try:
        reply = call(*args, **options)
    except _UNAVAILABLE as error:
        breaker.failed(error)
        raise
    except ResponseError:
        breaker.succeeded()  # it replied, although with an error, which is the caller's
        raise
    breaker.succeeded()
    return reply


def _recorded(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Make a call, and record its span."""
    started = time.time_ns()
    try:
        return call(*args, **options)
    finally:
        if traces.recorder is not None:
            name = _command_name(args)
            attributes = {"db.system.name": "redis", "db.operation.name": name}
            traces.recorder.call(name, attributes, started=started)


def _command_name(args: tuple[Any, ...]) -> str:
    """Return the command's name, without its keys and values; PIPELINE for several."""
    if args and isinstance(args[0], str):
        return args[0].upper()
    if args and isinstance(args[0], tuple) and len(args[0]) == 1:
        return cast(str, args[0][0].split(b"\r\n", 3)[2].decode().upper())  # packed by redis_command
    return "PIPELINE"


class GuardedPool(ConnectionPool):
    """A process's connections to one server, and the server's breaker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.breaker = Breaker("redis")

    def reset(self) -> None:
        """Forget all connections: those of the parent, in a process that was forked."""
        self._ready: list[Connection] = []  # for redis_trip(), latest last; the pool counts them as in use
        super().reset()

    def exchange(self, commands: tuple[bytes, ...]) -> list[Any]:
        """Send packed commands at once, and return their replies; raise the first error among them."""
        connection = self._take()
        replies, refused = [], None
        try:
            connection.send_packed_command((b"".join(commands),), check_health=False)
            for _ in commands:
                try:
                    replies.append(connection.read_response())
                except ResponseError as error:
                    refused = refused or error
            if connection.should_reconnect():
                connection.disconnect()
        except BaseException:  # replies may be left to read
            connection.disconnect()
            self.release(connection)
            raise
        self._ready.append(connection)
        if refused:
            raise refused
        return replies

    def _take(self) -> Connection:
        """Return a connection that is ready to send; it is the caller's until it puts it back."""
        try:
            connection = self._ready.pop() if self.pid == os.getpid() else self.get_connection()
        except IndexError:
            return self.get_connection()
        if connection.is_connected and _is_readable(connection):  # closed by the server, or not read to the end
            connection.disconnect()  # sending connects it again
        return connection


def _is_readable(connection: Connection) -> bool:
    poll = select.poll()
    poll.register(connection._sock, select.POLLIN)  # type: ignore[arg-type]  # not None: it is connected
    return bool(poll.poll(0))


class GuardedPipeline(Pipeline):
    """A pipeline whose round trip is guarded by the breaker."""

    connection_pool: GuardedPool

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        return cast(list[Any], guarded(self.connection_pool.breaker, super().execute, raise_on_error))


class GuardedRedis(Redis):
    """A redis-py client whose commands are guarded by the breaker."""

    connection_pool: GuardedPool

    @property
    def breaker(self) -> Breaker:
        """The breaker of this client's server, one per process."""
        return self.connection_pool.breaker

    def execute_command(self, *args: Any, **options: Any) -> Any:
        return guarded(self.breaker, super().execute_command, *args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return GuardedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class GuardedConnectionFactory(ConnectionFactory):
    """A factory of guarded clients, with one pool and one breaker per server."""

    _pools: ClassVar[dict[str, Any]] = {}

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.redis_client_cls = GuardedRedis
        self.pool_cls = GuardedPool


class JSONOrBytes(BaseSerializer):
    """A serializer for JSON and bytes. Unpickling would run code chosen by anyone who can write to Redis.

    A leading byte tells the two apart. A value that cannot be read, such as one of another release, is a miss.
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
        raise ConnectionInterrupted(connection=None) from ResponseError("cache value in an unknown format")


def _interrupting(name: str) -> Any:
    """Return ``DefaultClient``'s method ``name``, raising the exception that IGNORE_EXCEPTIONS catches."""
    plain = getattr(DefaultClient, name)

    def method(self: DefaultClient, *args: Any, **kwargs: Any) -> Any:
        try:
            return plain(self, *args, **kwargs)
        except RedisError as error:
            raise ConnectionInterrupted(connection=None) from error

    method.__name__ = name
    return method


class GuardedCacheClient(DefaultClient):
    """django-redis's client on guarded connections. Methods that would raise raw Redis errors are caught as well."""

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
        """Delete only this project's cached values; FLUSHDB would delete the queue and the metrics as well."""
        self.delete_pattern("*", client=client, itersize=500)


@cache
def redis_client() -> GuardedRedis:
    """Return this process's client of CACHE_URL. Each command may raise ``redis.RedisError``, but does so quickly."""
    backend = cast(Any, caches.create_connection("default"))  # not the thread's: Django closes those after each request
    return cast(GuardedRedis, backend.client.get_client(write=True))


def redis_trip(*commands: bytes) -> list[Any]:
    """Send commands, packed by ``redis_command``, in one round trip; return a reply for each.

    Raise ``redis.RedisError`` as a client's commands do, for the first error among the replies, too.
    """
    pool = redis_client().connection_pool
    return cast(list[Any], guarded(pool.breaker, pool.exchange, commands))


def _setting_changed(*, setting: str, **_: Any) -> None:
    if setting == "CACHES":
        redis_client.cache_clear()


setting_changed.connect(_setting_changed)
