"""redis: one round trip on a connection of its own, on a real Valkey: errors, restarts, dirty connections, forks."""

import os
import signal
from typing import Any

import pytest
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from apps.practices.mechanisms.redis import RedisUnavailable, redis_client, redis_command, redis_trip
from tests.practices.cache_servers import private_redis

PING = redis_command(("PING",))


def connection_id() -> int:
    """Return the server's number of the connection that the next trip uses."""
    [number] = redis_trip(redis_command(("CLIENT", "ID")))
    return int(number)


def test_commands_share_one_trip() -> None:
    before = connection_id()
    replies = redis_trip(redis_command(("SET", "trip", b"\x00")), redis_command(("GET", "trip")), PING)
    assert replies == [b"OK", b"\x00", b"PONG"]
    redis_client().unlink("trip")
    assert connection_id() == before


def test_error_leaves_no_reply_to_the_next_trip() -> None:
    before = connection_id()
    with pytest.raises(ResponseError, match="unknown command"):
        redis_trip(PING, redis_command(("NONSENSE",)), redis_command(("ECHO", "left")))
    assert redis_trip(redis_command(("ECHO", "right"))) == [b"right"]
    assert connection_id() == before, "an answer, even an error, costs no connection"


def test_restarted_server_costs_no_failure(settings: Any) -> None:
    with private_redis(settings) as server:
        redis_trip(PING)
        server.stop()
        server.start()
        assert redis_trip(PING) == [b"PONG"]
        assert not redis_client().breaker.is_suspicious


def test_connection_with_unread_data_is_replaced() -> None:
    pool = redis_client().connection_pool
    connection = pool.get_connection()
    connection.send_command("ECHO", "of somebody else")
    assert connection.can_read(timeout=5)
    pool._ready.append(connection)
    assert redis_trip(PING) == [b"PONG"]


def test_hung_server_opens_the_breaker(settings: Any) -> None:
    with private_redis(settings) as server:
        redis_trip(PING)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            for _ in range(2):
                with pytest.raises((ConnectionError, TimeoutError)):
                    redis_trip(PING)
            with pytest.raises(RedisUnavailable):
                redis_trip(PING)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        pool = redis_client().connection_pool
        assert not pool._ready, "a late reply would answer the next command"
        assert not pool._in_use_connections
        pool.breaker.reset()
        assert redis_trip(redis_command(("ECHO", "new"))) == [b"new"]


def test_child_process_opens_its_own_connection() -> None:
    before = connection_id()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, str(connection_id()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    assert int(os.read(reader, 20)) != before
    os.waitpid(child, 0)
    assert connection_id() == before
