"""database, failures of PostgreSQL: each is a 503 or 504 with Retry-After. A real server fails."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.utils import DatabaseError
from django.test import override_settings
from django.urls import path
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from apps.accounts.models import User
from apps.practices.database.failures import outage_message, problem_for
from tests.problems import assert_problem
from tests.processes import wait_until
from tests.sample.models import Note
from tests.sample.services import note_create

ROW = "SELECT 1 FROM sample_note FOR UPDATE"


class Doing(APIView):
    """Runs the test's action."""

    permission_classes = [AllowAny]
    action: Callable[[], object]

    def post(self, request: Any) -> Response:
        Doing.action()
        return Response({})


urlpatterns = [path("api/v1/doing", Doing.as_view())]


@pytest.fixture
def note(db: None) -> Note:
    return note_create(owner=User.objects.create(email="owner@example.com"), title="one")


def answer_to(action: Callable[[], object]) -> Any:
    """Return the API's answer to a request in which ``action`` runs."""
    Doing.action = staticmethod(action)
    with override_settings(ROOT_URLCONF=__name__):
        return APIClient(raise_request_exception=False).post("/api/v1/doing", {}, format="json")


def execute(sql: str, *before: str) -> None:
    """Run statements in a transaction of their own."""
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in (*before, sql):
            cursor.execute(statement)


def second_connection() -> psycopg.Connection[Any]:
    """Return another connection to the database of the tests."""
    chosen = {"host", "port", "user", "password", "dbname"}
    return psycopg.connect(
        **{name: value for name, value in connection.get_connection_params().items() if name in chosen}
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("sql", "before", "status", "retry"),
    [
        ("SELECT pg_sleep(5)", "SET LOCAL statement_timeout = '50ms'", 504, "2"),
        ("INSERT INTO sample_note (id) VALUES (gen_random_uuid())", "SET LOCAL transaction_read_only = on", 503, "5"),
        ("DO $$ BEGIN RAISE 'x' USING ERRCODE = '53100'; END $$", "SELECT 1", 503, "1"),
        ("DO $$ BEGIN RAISE 'x' USING ERRCODE = '57P03'; END $$", "SELECT 1", 503, "2"),
        ("DO $$ BEGIN RAISE 'x' USING ERRCODE = '58030'; END $$", "SELECT 1", 503, "2"),
        ("DO $$ BEGIN RAISE 'x' USING ERRCODE = '28P01'; END $$", "SELECT 1", 503, "2"),
        ("DO $$ BEGIN RAISE 'x' USING ERRCODE = '3D000'; END $$", "SELECT 1", 503, "2"),
    ],
    ids=["too slow", "read-only", "disk full", "starting up", "input or output", "no login", "no database"],
)
def test_server_failures_are_503_or_504(sql: str, before: str, status: int, retry: str) -> None:
    answer = answer_to(lambda: execute(sql, before))
    assert_problem(answer, status, "timed-out" if status == 504 else "unavailable")
    assert answer.headers["Retry-After"] == retry


@pytest.mark.django_db(transaction=True)
def test_lock_timeout_is_503(note: Note) -> None:
    with second_connection() as rival:
        rival.execute(ROW)
        answer = answer_to(lambda: execute(ROW, "SET LOCAL lock_timeout = '50ms'"))
    assert_problem(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.django_db(transaction=True)
def test_commands_report_outages_only(note: Note) -> None:
    """A lock timeout is no reason to check DATABASE_URL."""
    with second_connection() as rival:
        rival.execute(ROW)
        with pytest.raises(OperationalError) as locked:
            execute(ROW, "SET LOCAL lock_timeout = '50ms'")
    assert outage_message(locked.value) is None
    with pytest.raises(OperationalError) as away:
        execute("DO $$ BEGIN RAISE 'x' USING ERRCODE = '57P03'; END $$")
    assert "DATABASE_URL" in (outage_message(away.value) or "")


@pytest.mark.django_db(transaction=True)
def test_deadlock_is_503(note: Note) -> None:
    """Each waits for a lock of the other. The server cancels the one whose deadlock_timeout ends first."""
    second = note_create(owner=note.owner, title="two")
    one, two = (f"SELECT 1 FROM sample_note WHERE id = '{row.pk}' FOR UPDATE" for row in (note, second))
    with second_connection() as rival, second_connection() as watch:
        watch.autocommit = True
        rival.execute("SET deadlock_timeout = '30s'")
        rival.execute(two)
        waiting = threading.Thread(target=lambda: contextlib.suppress(psycopg.Error).__enter__() or rival.execute(one))

        def is_waiting() -> bool:
            return watch.execute("SELECT pg_blocking_pids(%s) <> '{}'", [rival.info.backend_pid]).fetchone() == (True,)

        def deadlocked() -> None:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL deadlock_timeout = '200ms'")
                cursor.execute(one)
                waiting.start()
                wait_until(is_waiting, seconds=10, what="the rival to wait")  # the server looks for a circle once
                cursor.execute(two)

        answer = answer_to(deadlocked)
        waiting.join(20)
    assert_problem(answer, 503, "unavailable")
    assert "same data" in answer.json()["detail"]


@pytest.mark.django_db(transaction=True)
def test_serialization_failure_is_503(note: Note) -> None:
    def conflicting() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT title FROM sample_note")
            with second_connection() as rival:
                rival.execute("UPDATE sample_note SET title = 'theirs'")
            cursor.execute("UPDATE sample_note SET title = 'ours'")

    answer = answer_to(conflicting)
    assert_problem(answer, 503, "unavailable")
    assert "same data" in answer.json()["detail"]
    note.refresh_from_db()
    assert note.title == "theirs"


@pytest.mark.django_db(transaction=True)
def test_broken_connection_is_503_once() -> None:
    def broken() -> None:
        with connection.cursor() as cursor, second_connection() as rival:
            cursor.execute("SELECT pg_backend_pid()")
            rival.execute("SELECT pg_terminate_backend(%s)", cursor.fetchone())
            rival.commit()
            cursor.execute("SELECT 1")

    assert_problem(answer_to(broken), 503, "unavailable")
    connection.close()
    assert answer_to(lambda: execute("SELECT 1")).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_too_many_connections_is_503() -> None:
    def refused() -> None:
        parameters = {**connection.get_connection_params(), "user": "crowd", "password": "crowd"}
        chosen = {"host", "port", "user", "password", "dbname"}
        psycopg.connect(**{name: value for name, value in parameters.items() if name in chosen})

    execute("CREATE ROLE crowd LOGIN PASSWORD 'crowd' CONNECTION LIMIT 0")
    try:
        answer = answer_to(refused)
    finally:
        execute("DROP ROLE crowd")
    assert_problem(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "2"


@pytest.mark.django_db
@pytest.mark.parametrize("sql", ["SELECT nothing", "SELECT 1/0", "INSERT INTO sample_note (id) VALUES (NULL)"])
def test_bugs_are_not_mapped(sql: str) -> None:
    with pytest.raises(DatabaseError) as raised:
        execute(sql)
    assert problem_for(raised.value) is None
    assert problem_for(IntegrityError("made by hand")) is None
    assert problem_for(ValueError("anything")) is None
