"""database, what a request costs before its first statement: a pooled connection is taken without a round trip."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg.types.datetime import TimestamptzLoader

from apps.practices.database.backend.base import DatabaseWrapper
from apps.practices.database.connections import BoundedConnection

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
