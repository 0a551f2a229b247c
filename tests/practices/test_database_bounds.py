"""database, one connection to a PgBouncer in transaction mode: every transaction has timeouts and leaves nothing behind."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, OperationalError, transaction
from django.test import override_settings
from psycopg import sql

from apps.practices.database.backend.base import DatabaseWrapper
from apps.practices.database.connections import ServerUnresponsive, breaker_of, connection_class
from apps.practices.database.failures import problem_for
from tests.pgbouncer import SERVERS, PgBouncer, connection_through
from tests.processes import wait_until

NAMES = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
WIDE = dict.fromkeys(NAMES, "30s")  # longer than a busy machine pauses
SHORT = dict(zip(NAMES, ("300ms", "200ms", "400ms"), strict=True))


@pytest.fixture
def wrapper(db: None, own_pgbouncer: PgBouncer) -> Iterator[DatabaseWrapper]:
    """Return the connection of a web process. Its limits are those of a server with a fallback (``has_fallback``)."""
    with connection_through(own_pgbouncer) as wrapper:
        wrapper.settings_dict["TRANSACTION_BOUNDS"] = WIDE
        wrapper.settings_dict["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 8, "timeout": 20}
        breaker_of("pgbouncer").reset()
        yield wrapper
        breaker_of("pgbouncer").reset()


@pytest.fixture
def short(wrapper: DatabaseWrapper) -> DatabaseWrapper:
    """Return the same with timeouts that a test can wait for."""
    wrapper.settings_dict["TRANSACTION_BOUNDS"] = SHORT
    return wrapper


def executed(wrapper: DatabaseWrapper, statement: str) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute(statement)


def in_a_transaction(wrapper: DatabaseWrapper, statement: str) -> None:
    with transaction.atomic("pgbouncer"), wrapper.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.execute(statement)


def behind_a_savepoint_undone(wrapper: DatabaseWrapper, statement: str) -> None:
    with transaction.atomic("pgbouncer"):
        with contextlib.suppress(ZeroDivisionError), transaction.atomic("pgbouncer"):
            raise ZeroDivisionError
        executed(wrapper, statement)


def composed(wrapper: DatabaseWrapper, statement: str) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute(sql.SQL("{}").format(sql.SQL(statement)))


def as_bytes(wrapper: DatabaseWrapper, statement: str) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute(statement.encode())


def as_many(wrapper: DatabaseWrapper, statement: str) -> None:
    with wrapper.cursor() as cursor:
        cursor.executemany(f"{statement} WHERE %s", [(True,), (True,)])


def as_many_in_a_transaction(wrapper: DatabaseWrapper, statement: str) -> None:
    with transaction.atomic("pgbouncer"):
        as_many(wrapper, statement)


def as_a_copy(wrapper: DatabaseWrapper, statement: str) -> None:
    with wrapper.cursor() as cursor, cursor.copy(f"COPY ({statement}) TO STDOUT") as copy:
        list(copy)


WAYS = [
    executed,
    in_a_transaction,
    behind_a_savepoint_undone,
    composed,
    as_bytes,
    as_many,
    as_many_in_a_transaction,
    as_a_copy,
]


@pytest.mark.parametrize("way", WAYS)
@override_settings(DATABASE_SUSPICIOUS_WAIT_SECONDS=20)
def test_statement_timeout(
    short: DatabaseWrapper, own_pgbouncer: PgBouncer, way: Callable[[DatabaseWrapper, str], None]
) -> None:
    started = time.monotonic()
    with pytest.raises((OperationalError, psycopg.OperationalError)) as raised:
        way(short, "SELECT pg_sleep(12)")
    assert time.monotonic() - started < 10
    problem = problem_for(raised.value)
    assert problem is not None
    assert problem.status == 504, "the server ended it, not the client"
    short.close()
    assert own_pgbouncer.left_behind() == []
    assert not breaker_of("pgbouncer").is_suspicious


@override_settings(DATABASE_SUSPICIOUS_WAIT_SECONDS=20)
def test_lock_timeout(short: DatabaseWrapper, own_pgbouncer: PgBouncer) -> None:
    short.settings_dict["TRANSACTION_BOUNDS"] = {**WIDE, "lock_timeout": "200ms"}
    with psycopg.connect(own_pgbouncer.database_url) as rival:
        rival.execute("SELECT pg_advisory_xact_lock(7)")
        with pytest.raises(OperationalError) as raised:
            executed(short, "SELECT pg_advisory_xact_lock(7)")
    problem = problem_for(raised.value)
    assert problem is not None
    assert (problem.status, problem.retry_after) == (503, 1)
    assert "same data" in str(problem.detail)


def test_idle_transaction_timeout(short: DatabaseWrapper) -> None:
    def idle() -> None:
        with transaction.atomic("pgbouncer"):
            executed(short, "SELECT 1")
            time.sleep(1.5)
            executed(short, "SELECT 1")

    with pytest.raises(DatabaseError) as raised:
        idle()
    problem = problem_for(raised.value)
    assert problem is not None
    assert problem.status == 503


@pytest.mark.parametrize("begins", [True, False], ids=["begins", "goes on"])
def test_results_belong_to_the_statement(wrapper: DatabaseWrapper, begins: bool) -> None:
    with contextlib.nullcontext() if begins else transaction.atomic("pgbouncer"), wrapper.cursor() as cursor:
        if not begins:
            cursor.execute("SELECT 1")
        cursor.execute("SELECT n, '100%%' AS share FROM generate_series(1, %s) AS n", [3])
        assert [column.name for column in cursor.description] == ["n", "share"]
        assert (cursor.rowcount, cursor.fetchall()) == (3, [(1, "100%"), (2, "100%"), (3, "100%")])
        assert not cursor.nextset()
        cursor.execute("SELECT '100%'")
        assert cursor.fetchone() == ("100%",)
        cursor.execute("SELECT 1; SELECT 2")
        assert cursor.fetchone() == (1,)
        assert cursor.nextset()
        assert cursor.fetchone() == (2,)


def test_commits_and_rollbacks(wrapper: DatabaseWrapper, own_pgbouncer: PgBouncer) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (n int)")
        cursor.execute("INSERT INTO kept SELECT generate_series(1, 3)")
        assert cursor.rowcount == 3
        cursor.executemany("INSERT INTO kept VALUES (%s)", [(4,), (5,)])
        with cursor.copy("COPY kept FROM STDIN") as copy:
            copy.write_row((6,))
        with contextlib.suppress(ZeroDivisionError), transaction.atomic("pgbouncer"):
            cursor.execute("INSERT INTO kept VALUES (7)")
            cursor.executemany("INSERT INTO kept VALUES (%s)", [(8,)])
            raise ZeroDivisionError
        with transaction.atomic("pgbouncer"):
            with contextlib.suppress(DatabaseError), transaction.atomic("pgbouncer"):
                cursor.execute("INSERT INTO kept SELECT 1 / 0")
            cursor.execute("INSERT INTO kept VALUES (9)")
    with psycopg.connect(own_pgbouncer.database_url) as client:
        assert [n for (n,) in client.execute("SELECT n FROM kept ORDER BY n")] == [1, 2, 3, 4, 5, 6, 9]


def test_time_zones_are_per_client(wrapper: DatabaseWrapper, own_pgbouncer: PgBouncer) -> None:
    """The only session setting of Django. PgBouncer tracks it and restores it for each client."""
    with contextlib.ExitStack() as held:
        others = [held.enter_context(own_pgbouncer.connect()) for _ in range(SERVERS * 2)]
        for number, other in enumerate(others):
            other.execute(f"SET TimeZone = 'Etc/GMT{number:+d}'")
        for _ in range(3):
            assert [one.execute("SHOW TimeZone").fetchone() for one in others] == [
                (f"Etc/GMT{number:+d}",) for number in range(len(others))
            ]
            with wrapper.cursor() as cursor:
                cursor.execute("SHOW TimeZone")
                assert cursor.fetchone() == ("UTC",)


@override_settings(DATABASE_SUSPICIOUS_WAIT_SECONDS=1.7)  # below PgBouncer's own patience
def test_a_queue_is_no_outage(wrapper: DatabaseWrapper, own_pgbouncer: PgBouncer) -> None:
    """All waits reach their limit at the same moment, but another client got a response, so these were in the queue."""
    everybody = threading.Barrier(SERVERS + 1, timeout=20)
    wrapper.settings_dict["OPTIONS"]["pool"]["min_size"] = SERVERS + 3
    wrapper.pool.open(wait=True, timeout=20)
    wrapper.ensure_connection()  # what Django asks of a database once, it asks in this thread
    wrapper.close()

    def inside() -> None:
        with wrapper.pool.connection() as connection, connection.transaction():
            connection.execute("SELECT 1")
            everybody.wait()
            everybody.wait()
            connection.execute("SELECT 1")
            everybody.wait()

    def outside() -> BaseException | None:
        mine = DatabaseWrapper(wrapper.settings_dict, alias="pgbouncer")
        with pytest.raises(OperationalError) as raised:
            executed(mine, "SELECT 1")
        mine.close()
        return raised.value.__cause__

    with ThreadPoolExecutor(SERVERS + 3) as threads:
        for _ in range(SERVERS):
            threads.submit(inside)
        everybody.wait()
        waiting = [threads.submit(outside) for _ in range(3)]
        wait_until(lambda: own_pgbouncer.clients("cl_waiting") == 3, seconds=10, what="three in the queue")
        everybody.wait()
        causes = [one.result() for one in waiting]
        suspicious = breaker_of("pgbouncer").is_suspicious
        everybody.wait()
    assert [type(cause) for cause in causes] == [ServerUnresponsive] * 3
    assert not suspicious


@pytest.fixture
def pool_connection(wrapper: DatabaseWrapper, own_pgbouncer: PgBouncer) -> Iterator[psycopg.Connection[Any]]:
    """Return a connection of the pool's class, opened while PostgreSQL is under suspicion."""
    breaker_of("pgbouncer").failed(OSError())
    with connection_class("pgbouncer", is_pgbouncer=True).connect(own_pgbouncer.url, autocommit=True) as connection:
        yield connection


def test_connecting_to_pgbouncer_is_no_response(pool_connection: psycopg.Connection[Any]) -> None:
    assert breaker_of("pgbouncer").is_suspicious
    pool_connection.execute("SELECT 1")
    assert not breaker_of("pgbouncer").is_suspicious


@pytest.mark.parametrize(
    ("code", "answers"),
    [("22012", True), ("57014", True), ("28P01", False), ("3D000", False), ("53300", False), ("57P01", False)],
)
def test_errors_are_responses_except_failed_logins(
    pool_connection: psycopg.Connection[Any], code: str, answers: bool
) -> None:
    """Newer versions of PgBouncer pass on PostgreSQL's own codes of failed logins."""
    with pytest.raises(psycopg.Error):
        pool_connection.execute(f"DO $$ BEGIN RAISE 'x' USING ERRCODE = '{code}'; END $$")
    assert breaker_of("pgbouncer").is_suspicious is not answers


@override_settings(DATABASE_SUSPICIOUS_WAIT_SECONDS=10)
def test_errors_of_pgbouncer_are_no_responses(
    pool_connection: psycopg.Connection[Any], own_pgbouncer: PgBouncer
) -> None:
    pool_connection.execute("SELECT 1")
    with contextlib.ExitStack() as held:
        for _ in range(SERVERS):
            other = held.enter_context(own_pgbouncer.connect())
            held.enter_context(other.transaction())
            other.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
            pool_connection.execute("SELECT 1")
    assert breaker_of("pgbouncer").is_suspicious


def test_errors_of_the_client_are_no_responses(wrapper: DatabaseWrapper) -> None:
    for _ in range(3):
        with pytest.raises(DatabaseError), wrapper.cursor() as cursor:
            cursor.execute("SELECT %s, %s", ["one"])
    assert not breaker_of("pgbouncer").is_suspicious


def test_iterators_use_no_server_side_cursor(wrapper: DatabaseWrapper, own_pgbouncer: PgBouncer) -> None:
    with contextlib.ExitStack() as held:
        for number, _ in enumerate(ContentType.objects.using("pgbouncer").order_by("pk").iterator(chunk_size=1)):
            if number < SERVERS - 1:  # the next client gets another connection
                other = held.enter_context(own_pgbouncer.connect())
                held.enter_context(other.transaction())
                other.execute("SELECT 1")
    assert number > SERVERS
    wrapper.close()
    assert own_pgbouncer.left_behind() == []
