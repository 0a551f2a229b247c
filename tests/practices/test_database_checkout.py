"""database, how a request gets a connection: without a round trip, and for a kept read only as long as the read takes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db import DataError, OperationalError, ProgrammingError, connection
from django.test import override_settings
from psycopg.types.datetime import TimestamptzLoader

from apps.practices.database.backend import base
from apps.practices.database.backend.base import DatabaseWrapper
from apps.practices.database.connections import BoundedConnection, CircuitOpen, ServerUnresponsive, breaker_of
from apps.practices.database.failures import problem_for
from apps.practices.database.statements import PreparableSQL, PreparingCursor
from apps.practices.mechanisms.usage import usage

TIMES = [
    "2026-11-30 12:00:00+00",
    "2026-11-30 12:00:00.123456+00",
    "2026-06-30 23:59:59.9+02",
    "1883-11-18 12:00:00-05",
    "0001-01-01 00:00:00+00",
    "9999-12-31 23:59:59.999999+00",
]


@pytest.fixture
def pooled(db: None) -> Iterator[Any]:
    """Return a connection as a thread of a web process has it."""
    settings_dict = json.loads(json.dumps(connection.settings_dict, default=str))
    settings_dict["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 1, "timeout": 20}
    wrapper = DatabaseWrapper(settings_dict, alias="default")
    yield wrapper
    wrapper.close()
    wrapper.close_pool()


def test_a_request_with_one_query_waits_once(pooled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pooled.ensure_connection()
    pooled.close()
    waits = []
    monkeypatch.setattr(
        BoundedConnection, "wait", lambda self, *args: waits.append(1) or super(BoundedConnection, self).wait(*args)
    )
    with pooled.cursor() as cursor:
        cursor.execute("SELECT %s::int", [7])
        assert cursor.fetchall() == [(7,)]
    pooled.close()
    assert len(waits) == 1


def test_an_unfinished_transaction_does_not_reach_the_next_request(pooled: Any) -> None:
    pooled.ensure_connection()
    first = pooled.connection
    pooled.set_autocommit(False)
    with pooled.cursor() as cursor:
        cursor.execute("SELECT 1")
    pooled.close()
    pooled.ensure_connection()
    assert pooled.connection is first
    assert pooled.get_autocommit()
    assert pooled.connection.autocommit
    assert pooled.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_timestamps_are_loaded_in_c(db: None) -> None:
    loaders = [connection.connection and connection.connection.adapters.get_loader(1184, 0)]
    with connection.cursor() as cursor:
        loaders.append(cursor.cursor.adapters.get_loader(1184, 0))
        assert loaders[-1] is not TimestamptzLoader
        assert loaders[-1].__module__.startswith("psycopg_binary")
        cursor.execute("SELECT unnest(%s::timestamptz[])", [TIMES])
        found = [value for (value,) in cursor.fetchall()]
    assert found == [datetime.fromisoformat(text) for text in TIMES]
    assert {value.tzinfo for value in found} == {UTC} == {connection.timezone}


def test_server_side_cursors_load_the_same(db: None) -> None:
    with connection.chunked_cursor() as cursor:
        cursor.execute("SELECT unnest(%s::timestamptz[])", [TIMES])
        assert [value for (value,) in cursor] == [datetime.fromisoformat(text) for text in TIMES]


# --- reads that return their connection at once

NUMBER = "SELECT %s::int + 1"


def available(wrapper: Any) -> int:
    """Return how many connections of the pool nobody holds."""
    return int(wrapper.pool.get_stats()["pool_available"])


def other(wrapper: Any) -> psycopg.Connection[Any]:
    """Return another connection to the same database."""
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    given = {name: wrapper.settings_dict[key] for name, key in names.items() if wrapper.settings_dict[key]}
    return psycopg.connect(autocommit=True, **given)


def waits_counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets an entry for each wait for the server."""
    waits: list[int] = []
    wait = psycopg.Connection.wait
    monkeypatch.setattr(psycopg.Connection, "wait", lambda self, *given: (waits.append(1), wait(self, *given))[1])
    return waits


def test_reads_return_their_connection_at_once(pooled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pooled.rows_read(NUMBER, [6]) == [(7,)]
    waits = waits_counted(monkeypatch)
    assert pooled.rows_read(NUMBER, [7]) == [(8,)]
    assert len(waits) == 1
    assert pooled.connection is None
    assert available(pooled) == 1


def test_reads_of_a_request_that_holds_a_connection_use_it(pooled: Any) -> None:
    pooled.ensure_connection()
    assert pooled.rows_read(NUMBER, [6]) is None, "with a pool of one, this would wait for itself"
    pooled.set_autocommit(False)
    assert pooled.rows_read(NUMBER, [6]) is None


def test_reads_that_are_observed_use_djangos_cursor(pooled: Any) -> None:
    with pooled.execute_wrapper(lambda execute, *given: execute(*given)):
        assert pooled.rows_read(NUMBER, [6]) is None
    pooled.force_debug_cursor = True
    assert pooled.rows_read(NUMBER, [6]) is None
    pooled.force_debug_cursor = False
    with override_settings(OBSERVABILITY_SENTRY_DSN="https://key@sentry.example.com/1"):
        assert pooled.rows_read(NUMBER, [6]) is None
    assert pooled.rows_read(NUMBER, [6]) == [(7,)]


def test_failed_reads_return_their_connection(pooled: Any) -> None:
    for _ in range(3):
        with pytest.raises(DataError):
            pooled.rows_read("SELECT 1 / %s::int", [0])
        with pytest.raises(ProgrammingError):
            pooled.rows_read("SELECT nothing", [])
    assert available(pooled) == 1
    assert pooled.rows_read(NUMBER, [6]) == [(7,)]


def test_connections_that_died_are_replaced_before_a_read(pooled: Any) -> None:
    for _ in range(3):
        ((pid,),) = pooled.rows_read("SELECT pg_backend_pid()", [])
        with other(pooled) as rival:
            rival.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        ((following,),) = pooled.rows_read("SELECT pg_backend_pid()", [])
        assert following != pid


def test_reads_without_a_response_are_given_up(pooled: Any) -> None:
    assert pooled.rows_read(NUMBER, [6]) == [(7,)]
    breaker_of("default").reset()
    try:
        with override_settings(DATABASE_WAIT_SECONDS=0.3), pytest.raises(OperationalError) as raised:
            pooled.rows_read("SELECT pg_sleep(%s)", [5])
        problem = problem_for(raised.value)
        assert problem is not None
        assert problem.status == 503
        assert pooled.rows_read(NUMBER, [6]) == [(7,)]
    finally:
        breaker_of("default").reset()


def test_reads_are_refused_while_the_breaker_is_open(pooled: Any) -> None:
    breaker = breaker_of("default")
    assert pooled.rows_read(NUMBER, [6]) == [(7,)]
    try:
        for _ in range(2):
            breaker.failed(psycopg.OperationalError())
        with pytest.raises(OperationalError) as raised:
            pooled.rows_read(NUMBER, [6])
        assert isinstance(raised.value.__cause__, CircuitOpen)
    finally:
        breaker.reset()


def test_a_busy_pool_is_503(pooled: Any) -> None:
    pooled.ensure_connection()
    second = DatabaseWrapper(pooled.settings_dict, alias="default")
    pooled.pool.timeout = 0.2
    with pytest.raises(OperationalError) as raised:
        second.rows_read(NUMBER, [6])
    problem = problem_for(raised.value)
    assert problem is not None
    assert (problem.status, problem.retry_after) == (503, 1)
    breaker_of("default").reset()


def test_prepared_reads_survive_lost_statements(pooled: Any) -> None:
    sql = PreparableSQL(NUMBER)
    pooled.settings_dict["OPTIONS"]["prepare_threshold"] = 0
    for _ in range(3):
        assert pooled.rows_read(sql, [6]) == [(7,)]
    prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%+ 1'"
    assert pooled.rows_read(prepared, []) == [(1,)]
    pooled.ensure_connection()
    pooled.connection.pgconn.exec_(b"DEALLOCATE ALL")  # as another session of a pooler would have it
    pooled.close()
    for _ in range(3):
        assert pooled.rows_read(sql, [6]) == [(7,)]


def test_prepared_reads_need_no_cursor(pooled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They return what psycopg's cursor returns, also for values of other types, and raise its errors, in one round trip."""
    quotient, texts = PreparableSQL("SELECT 6 / %s::int"), PreparableSQL("SELECT %s, %s::timestamptz, NULL::uuid")
    pooled.settings_dict["OPTIONS"]["prepare_threshold"] = 0
    now = datetime.now(UTC)
    for _ in range(2):
        assert pooled.rows_read(quotient, [2]) == [(3,)]
        assert pooled.rows_read(texts, ["é", now]) == [("é", now, None)]
    waits = waits_counted(monkeypatch)
    with monkeypatch.context() as without_cursors:
        without_cursors.delattr(PreparingCursor, "execute")
        without_cursors.delattr(psycopg.Cursor, "execute")
        assert pooled.rows_read(quotient, [3]) == [(2,)]
        assert pooled.rows_read(texts, ["a", now]) == [("a", now, None)]
        with pytest.raises(DataError):
            pooled.rows_read(quotient, [0])
        assert pooled.rows_read(quotient, [6]) == [(1,)]
    assert len(waits) == 4
    assert pooled.rows_read(texts, ["a", None]) == [("a", None, None)], (
        "another statement: the type of NULL is not known"
    )


def test_prepared_reads_load_what_the_cursor_loads(pooled: Any) -> None:
    """They use PostgreSQL's binary format for some types, and only for rows of these alone."""
    for name, values in {
        "timestamptz": TIMES,
        "uuid": ["01a22d32-0111-75fe-b56d-48d83b480632"],
        "date": ["0001-01-01", "9999-12-31"],
        "text": ["", "é\u2028", "\x7f"],
        "varchar": ["a"],
        "int2": ["-32768"],
        "int4": ["2147483647"],
        "int8": ["-9223372036854775808"],
        "bool": ["t", "f"],
        "text[]": ['{a,"b c",NULL}', "{}"],
        "varchar[]": ["{{a},{b}}"],
        "numeric": ["1.50", "NaN"],
        "jsonb": ['{"a": [1.5]}'],
        "inet": ["192.0.2.1/24"],
        "interval": ["1 day 02:03:04.5"],
        "time": ["23:59:59.9"],
        "float8": ["0.1", "Infinity"],
        "bytea": ["\\x00ff"],
        "tstzrange": ["[2026-11-30 12:00:00+00,)"],
    }.items():
        sql = f"SELECT value::{name}, NULL::{name}, %s::int FROM unnest(%s::text[]) value"
        pooled.settings_dict["OPTIONS"]["prepare_threshold"] = 0
        expected = pooled.rows_read(sql, [1, values])
        for _ in range(4):
            found = pooled.rows_read(PreparableSQL(sql), [1, values])
            assert repr(found) == repr(expected)
    formats = set(pooled.pool._pool[0]._reader._formats.values())
    assert formats == {psycopg.pq.Format.TEXT, psycopg.pq.Format.BINARY}


def test_a_hung_server_holds_no_prepared_read(pooled: Any) -> None:
    sql = PreparableSQL("SELECT pg_sleep(%s)")
    pooled.settings_dict["OPTIONS"]["prepare_threshold"] = 0
    for _ in range(2):
        pooled.rows_read(sql, [0.0])
    breaker_of("default").reset()
    try:
        with override_settings(DATABASE_WAIT_SECONDS=0.3), pytest.raises(OperationalError) as raised:
            pooled.rows_read(sql, [5.0])
        assert isinstance(raised.value.__cause__, ServerUnresponsive)
        assert breaker_of("default").is_suspicious
        assert pooled.rows_read(sql, [0.0]) == [("",)]
        assert not breaker_of("default").is_suspicious
    finally:
        breaker_of("default").reset()


def test_a_pool_of_which_every_connection_is_lost_is_given_up(pooled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a proxy that closes each connection at once. Each is replaced, so the pool stays complete."""
    assert pooled.rows_read(NUMBER, [6]) == [(7,)]
    seen: list[Any] = []
    with monkeypatch.context() as unlucky:
        unlucky.setattr(base, "connection_lost", lambda connection: seen.append(connection) or True)
        with pytest.raises(OperationalError, match="closed every connection"):
            pooled.rows_read(NUMBER, [6])
    assert len({id(connection) for connection in seen}) == pooled.pool.max_size + 1
    assert all(connection.closed for connection in seen)
    assert pooled.rows_read(NUMBER, [6]) == [(7,)]


def test_every_read_is_counted_and_timed(pooled: Any) -> None:
    """Also one that is prepared, and so has no cursor."""
    pooled.settings_dict["OPTIONS"]["prepare_threshold"] = 0
    usage.reset()
    for number in range(1, 12):
        assert pooled.rows_read(PreparableSQL("SELECT pg_sleep(0.001)::text, %s::int"), [number]) == [("", number)]
        assert usage.queries == number
        assert usage.query_seconds >= number * 0.001
