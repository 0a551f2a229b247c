"""database, outages of PostgreSQL: every wait has a timeout, an open breaker refuses at once, and a probe closes it."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, connections
from django.test import override_settings

from apps.practices.database.backend.base import DatabaseWrapper
from apps.practices.database.connections import (
    BoundedConnection,
    CircuitOpen,
    ServerUnresponsive,
    connection_class,
    connection_lost,
)
from apps.practices.database.failures import problem_for
from tools.stack import port_free


def other() -> psycopg.Connection[Any]:
    """Return another connection to the tests' database."""
    return psycopg.connect(**parameters())


def parameters() -> dict[str, Any]:
    chosen = {"host", "port", "user", "password", "dbname"}
    return {name: value for name, value in connection.get_connection_params().items() if name in chosen}


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    """Reset the breakers before and after."""
    breakers = [BoundedConnection.breaker, connection_class("default").breaker]
    for breaker in breakers:
        breaker.reset()
    yield
    for breaker in breakers:
        breaker.reset()


# --- bounded connections


@pytest.mark.django_db
def test_every_wait_has_a_timeout() -> None:
    with BoundedConnection.connect(**parameters()) as bounded:
        with override_settings(DATABASE_WAIT_SECONDS=0.3), pytest.raises(ServerUnresponsive) as raised:
            bounded.execute("SELECT pg_sleep(4)")
        assert bounded.closed
    problem = problem_for(raised.value)
    assert problem is not None
    assert problem.status == 503


@pytest.mark.django_db
def test_closed_connections_are_detected() -> None:
    with other() as watched, other() as rival:
        watched.autocommit = True
        watched.execute("SELECT 1")
        assert not connection_lost(watched)
        rival.execute("SELECT pg_terminate_backend(%s)", [watched.info.backend_pid])
        rival.commit()
        assert eventually(lambda: connection_lost(watched))
        watched.close()
        assert connection_lost(watched)


def eventually(question: Callable[[], bool], seconds: float = 10) -> bool:
    """Return whether the condition became true within the time."""
    deadline = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if question():
            return True
        deadline.wait(0.05)
    return False


@pytest.fixture
def pooled(db: None) -> Iterator[Any]:
    """Return three wrappers that share a pool of two connections, as the threads of a web process do."""
    settings_dict = json.loads(json.dumps(connection.settings_dict, default=str))
    settings_dict["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 2, "timeout": 20}
    wrappers = [DatabaseWrapper(settings_dict, alias="default") for _ in range(3)]
    yield wrappers
    for wrapper in wrappers:
        wrapper.close()
    wrappers[0].close_pool()


@contextlib.contextmanager
def impatient(wrapper: Any) -> Iterator[None]:
    """Shorten the wait for a connection of the pool."""
    pool, patience = wrapper.pool, wrapper.pool.timeout
    pool.timeout = 0.3
    try:
        yield
    finally:
        pool.timeout = patience


def test_exhausted_pool_is_503(pooled: Any) -> None:
    first, second, third = pooled
    first.ensure_connection()
    second.ensure_connection()
    with impatient(third), pytest.raises(OperationalError) as raised:
        third.ensure_connection()
    problem = problem_for(raised.value)
    assert problem is not None
    assert (problem.status, problem.retry_after) == (503, 1)
    first.close()
    third.ensure_connection()
    assert isinstance(third.connection, BoundedConnection)


def test_dead_connections_are_replaced(pooled: Any) -> None:
    first, second, _ = pooled
    for wrapper in (first, second):
        wrapper.ensure_connection()
    pids = [wrapper.connection.info.backend_pid for wrapper in (first, second)]
    for wrapper in (first, second):
        wrapper.close()
    with other() as rival:
        rival.autocommit = True  # within a transaction every look shows what the first one did
        rival.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [pids])
        assert eventually(
            lambda: not rival.execute("SELECT 1 FROM pg_stat_activity WHERE pid = ANY(%s)", [pids]).fetchall()
        )
    for _ in range(3):
        with first.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            assert cursor.fetchone()[0] not in pids
        first.close()


# --- the breaker


@pytest.fixture
def gone(pooled: Any) -> Any:
    """Return three wrappers whose server does not exist."""
    for wrapper in pooled:
        options = {**wrapper.settings_dict["OPTIONS"], "pool": {"min_size": 1, "max_size": 2, "timeout": 0.3}}
        wrapper.settings_dict = {**wrapper.settings_dict, "OPTIONS": options, "PORT": port_free()}
    return pooled


def seconds_of(action: Callable[[], object]) -> float:
    """Return how long ``action`` takes to fail, in seconds."""
    started = time.monotonic()
    with pytest.raises(OperationalError):
        action()
    return time.monotonic() - started


def test_an_open_breaker_refuses_at_once(gone: Any) -> None:
    breaker = connection_class("default").breaker
    while breaker.allows():
        seconds_of(gone[0].ensure_connection)
    with pytest.raises(OperationalError) as raised:
        gone[1].ensure_connection()
    assert isinstance(raised.value.__cause__, CircuitOpen)
    problem = problem_for(raised.value)
    assert problem is not None
    assert (problem.status, problem.retry_after) == (503, 2)


def test_a_probe_closes_the_breaker(pooled: Any) -> None:
    breaker = connection_class("default").breaker
    for _ in range(2):
        breaker.failed(OSError())
    with pytest.raises(OperationalError):
        pooled[0].ensure_connection()

    def connected() -> bool:
        try:
            pooled[0].ensure_connection()
        except OperationalError:
            return False
        return True

    assert eventually(connected)
    pooled[1].ensure_connection()
    assert not breaker.is_suspicious


def test_a_busy_pool_is_no_outage(pooled: Any) -> None:
    """The server responds all the time, so an exhausted pool says nothing about it."""
    first, second, third = pooled
    first.ensure_connection()
    second.ensure_connection()
    stop = threading.Event()

    def busy() -> None:
        while not stop.wait(0.01):
            first.connection.execute("SELECT 1")

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        with impatient(third):
            for _ in range(3):
                seconds_of(third.ensure_connection)
    finally:
        stop.set()
        thread.join(10)
    assert not connection_class("default").breaker.is_suspicious


@pytest.mark.django_db
@override_settings(DATABASE_WAIT_SECONDS=30, DATABASE_SUSPICIOUS_WAIT_SECONDS=0.3)
def test_waits_are_short_after_a_failure() -> None:
    with BoundedConnection.connect(**parameters()) as bounded:
        BoundedConnection.breaker.failed(OSError())
        with pytest.raises(ServerUnresponsive):
            bounded.execute("SELECT pg_sleep(4)")


@pytest.mark.django_db
def test_operations_without_a_wait_are_no_response() -> None:
    """Every request begins with such operations: if they counted, an outage would be forgotten."""
    with BoundedConnection.connect(**parameters()) as bounded:
        BoundedConnection.breaker.failed(OSError())
        bounded.autocommit = True
        bounded.rollback()
        assert BoundedConnection.breaker.is_suspicious
        bounded.execute("SELECT 1")
        assert not BoundedConnection.breaker.is_suspicious


# --- forks


def test_children_do_not_use_their_parents_connections(pooled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes on one socket would read each other's responses."""
    wrapper = pooled[0]
    wrapper.ensure_connection()
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        mine = cursor.fetchone()[0]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        pools = len(DatabaseWrapper._connection_pools)
        open_here = [wrapper.connection for wrapper in connections.all() if wrapper.connection is not None]
        os.write(writing, json.dumps([pools, len(open_here)]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert json.load(pipe) == [0, 0]
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone()[0] == mine, "the child's end closed the parent's connection"
