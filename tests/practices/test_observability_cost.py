"""observability: what a request cost, and the statements that were slow, without their values."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from psycopg import sql
from structlog.testing import capture_logs

from apps.practices.observability.access import cache_outcome
from apps.practices.observability.history import local
from apps.practices.observability.queries import fingerprint_of
from tests.apps.accounts.factories import sign_in, user_create

pytestmark = pytest.mark.django_db
SECRET = "hunter2"


def line_of(captured: list[Any], event: str = "request") -> Any:
    (line,) = [line for line in captured if line["event"] == event]
    return line


def asked(client: Client, path: str, **options: Any) -> Any:
    with capture_logs() as captured:
        client.get(path, **options)
    return line_of(captured)


def test_access_line_has_statements_and_their_time(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1, exact=False) as found:
        line = asked(client, "/api/v1/sample/notes/01890000-0000-7000-8000-000000000000")
    assert line["queries"] == len(found) > 0
    assert 0 < line["db_ms"] <= line["duration_ms"]
    line = asked(client, "/nothing-here")
    assert (line["queries"], line["db_ms"]) == (0, 0)


def test_access_line_has_the_cache_outcome(client: Client) -> None:
    lines = [asked(client, "/api/v1/sample/notes") for _ in range(2)]
    assert [line["cache"] for line in lines] == ["miss", "local"]
    assert lines[1]["queries"] == 0
    assert "cache" not in asked(client, "/nothing-here")


def test_metrics_count_statements_by_route(client: Client) -> None:
    path = "/api/v1/sample/notes/01890000-0000-7000-8000-000000000000"
    before, started = local(), time.perf_counter()
    line = asked(client, path)
    passed, after = time.perf_counter() - started, local()

    def gained(name: str, **labels: str) -> float:
        return after.total(name, **labels) - before.total(name, **labels)

    assert gained("db_client_operation_duration_seconds_bucket", db_operation_name="SELECT") == line["queries"] > 0
    assert 0 < gained("db_client_operation_duration_seconds_sum", db_system_name="postgresql") < passed
    assert gained("shipshape_request_queries_total", http_route=line["route"]) == line["queries"]
    assert 0 < gained("shipshape_request_query_seconds_total", http_route=line["route"]) < passed
    [route] = [route for route in after.routes() if (route.method, route.route) == ("GET", line["route"])]
    assert (route.queries >= line["queries"], route.query_seconds > 0) == (True, True)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("app; fwd=bypass", "bypass"),
        ("app; fwd=uri-miss", "miss"),
        ("app; fwd=uri-miss; stored; ttl=60", "miss"),
        ("app; hit; ttl=60; detail=redis", "redis"),
        ("app; hit; ttl=-1", "hit"),
    ],
)
def test_cache_outcome(status: str, outcome: str) -> None:
    assert cache_outcome(status) == outcome


def test_access_line_has_the_session(client: Client) -> None:
    user = user_create()
    pair = sign_in(user)
    headers = {"Authorization": f"Bearer {pair.access}"}
    line = asked(client, "/api/v1/me", headers=headers)
    assert line["session"] == str(user.sessions.get().pk)
    assert line["user_id"] == str(user.pk)
    assert "session" not in asked(client, "/nothing-here")


def test_a_slow_request_is_a_warning(client: Client, settings: Any) -> None:
    settings.OBSERVABILITY_SLOW_REQUEST_SECONDS = 1e-6
    line = asked(client, "/nothing-here")
    assert (line["slow"], line["log_level"]) == (True, "warning")
    settings.OBSERVABILITY_SLOW_REQUEST_SECONDS = 0
    line = asked(client, "/nothing-here")
    assert ("slow" in line, line["log_level"]) == (False, "info")


def test_a_slow_statement_is_logged_without_its_values(settings: Any) -> None:
    settings.OBSERVABILITY_SLOW_QUERY_SECONDS = 0.05
    with capture_logs() as captured, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.execute(f"SELECT pg_sleep(0.06), %s, '{SECRET}', 4711 -- {SECRET}", [SECRET])
    line = line_of(captured, "slow_query")
    assert line["statement"] == "SELECT pg_sleep(?), ?, ?, ?"
    assert line["fingerprint"] == fingerprint_of(line["statement"])[1]
    assert line["duration_ms"] >= 60
    assert SECRET not in str(captured)
    settings.OBSERVABILITY_SLOW_QUERY_SECONDS = 0
    with capture_logs() as captured, connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.06)")
    assert captured == []


@pytest.mark.parametrize(
    ("statement", "shape"),
    [
        ("SELECT  a\n FROM b", "SELECT a FROM b"),
        ('SELECT "a2" FROM "t_1" LIMIT 21', 'SELECT "a2" FROM "t_1" LIMIT ?'),
        ("x IN (%s, %s, %s)", "x IN (...)"),
        ("x IN (1,2)", "x IN (...)"),
        ("x IN (%(a)s)", "x IN (?)"),
        ("VALUES (%s, %s), (%s, %s), (%s, %s)", "VALUES (...)"),
        ("x = 'hunter2''s' AND y", "x = ? AND y"),
        (r"x = E'a\'hunter2' AND y", "x = ? AND y"),
        ("x = 'hunter2", "x = ?"),
        ("x = $$hunter2$$ AND z = $a$hunter2 $$ $a$ AND y", "x = ? AND z = ? AND y"),
        ("x /* hunter2 */ y -- hunter2\nz", "x y z"),
        ("x = -1.5e-7 + .5 + 0x1F", "x = -? + ? + ?"),
        ("x = b'101' AND X'1F' AND U&'hunter2'", "x = ? AND ? AND ?"),
        ("x = $1 AND t1.c2", "x = $1 AND t1.c2"),
        ('"a""hunter" = 1', '"a""hunter" = ?'),
        ("SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '2s'; SELECT 1", "SELECT ?"),
        (b"SELECT 'hunter2'", "SELECT ?"),
        (sql.SQL("SELECT {}").format(sql.Literal(SECRET)), "SELECT ?"),
    ],
)
def test_fingerprints_are_without_values(statement: Any, shape: str) -> None:
    found, digest = fingerprint_of(statement)
    assert found == shape
    assert len(digest) == 16


def test_statements_of_one_shape_have_one_fingerprint() -> None:
    assert fingerprint_of("a IN (%s,%s) AND b = 1") == fingerprint_of("a  IN (%s, %s, %s) AND b = 'x'")
    assert fingerprint_of("a = 1")[1] != fingerprint_of("b = 1")[1]


def test_a_long_statement_is_cut() -> None:
    shape, _ = fingerprint_of(f"SELECT {', '.join(['column'] * 1000)}")
    assert len(shape) == 1000
