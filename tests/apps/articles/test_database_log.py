"""database: PostgreSQL's log holds no values of statements that failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from apps.accounts.models import LinkPurpose, User
from apps.accounts.services.users import user_save
from apps.practices.database.backend.base import DatabaseWrapper
from tests.apps.accounts.factories import PASSWORD, bearer, link, user_create
from tests.pgbouncer import PgBouncer, connection_through
from tests.processes import wait_until
from tests.secrets import MARKER
from tools.stack import Stack

pytestmark = pytest.mark.django_db(transaction=True)
SECRET, TAKEN = MARKER, "taken-b81c@example.com"
Logged = Callable[[], str]


@pytest.fixture
def logged(stack: Stack) -> Logged:
    """Return a function that returns what PostgreSQL has logged since the test began."""
    path: Path = stack.servers["postgresql"].log
    start = path.stat().st_size

    def read() -> str:
        return path.read_bytes()[start:].decode()

    return read


def fail(cursor: Any, statement: str, values: list[Any]) -> None:
    with pytest.raises(DatabaseError):
        cursor.execute(statement, values)


@pytest.fixture
def pooled_connection(own_pgbouncer: PgBouncer) -> Iterator[DatabaseWrapper]:
    """Return a connection of a web process through PgBouncer in transaction mode."""
    with connection_through(own_pgbouncer) as wrapper:
        yield wrapper


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pgbouncer"])
def test_failed_statement_is_logged_without_values(
    pooled: bool, logged: Logged, request: pytest.FixtureRequest
) -> None:
    user_create()
    wrapper = request.getfixturevalue("pooled_connection") if pooled else connection
    with wrapper.cursor() as cursor:
        fail(cursor, "INSERT INTO accounts_user (name, password) VALUES (%s, 1 / %s)", [SECRET, 0])
    with transaction.atomic(wrapper.alias), wrapper.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '50ms'")
        with pytest.raises(DatabaseError), transaction.atomic(wrapper.alias):
            cursor.execute("UPDATE accounts_user SET name = %s WHERE pg_sleep(5) IS NOT NULL", [SECRET])
        with pytest.raises(DatabaseError), transaction.atomic(wrapper.alias):
            cursor.execute("SELECT pg_sleep(5), %s::text", [SECRET])
    wait_until(lambda: logged().count("statement timeout") == 2, seconds=10, what="both timeouts in the log")
    assert "$1" in logged(), "the statements must be logged"
    assert SECRET not in logged()


def post(client: Client, path: str, body: dict[str, Any], *, status: int, method: str = "post", **headers: Any) -> Any:
    answer = getattr(client, method)(f"/api/v1/{path}", body, content_type="application/json", **headers)
    assert answer.status_code == status, answer.content
    return answer


def test_expected_conflicts_are_not_logged_as_errors(
    client: Client, logged: Logged, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    author = user_create(email=TAKEN)
    headers = bearer(author)
    account = {"email": TAKEN, "password": "lanterns along the quay"}
    settings.REQUIRE_VERIFIED_EMAIL = True
    post(client, "auth/register", account, status=202)
    settings.REQUIRE_VERIFIED_EMAIL = False
    post(client, "auth/register", account, status=409)
    token = link(user_create(), LinkPurpose.CHANGE_EMAIL, email=TAKEN)
    post(client, "auth/email/verify", {"token": token}, status=409)
    draft = {"title": SECRET, "body": SECRET, "slug": "taken"}
    post(client, "articles", draft, status=201, **headers)
    post(client, "articles", draft, status=409, **headers)
    titled = post(client, "articles", {"title": "Taken", "body": SECRET}, status=201, **headers).json()
    assert titled["slug"] != "taken"
    post(client, f"articles/{titled['id']}", {"slug": "taken"}, status=409, method="patch", **headers)
    assert "ERROR" not in logged()
    # A concurrent writer's row violates the constraint, and its values are not logged.
    with pytest.raises(DatabaseError):
        user_save(user=User(email=TAKEN, password=author.password, name=SECRET))
    wait_until(lambda: "duplicate key" in logged(), seconds=10, what="the conflict in the log")
    assert not [secret for secret in (author.password, SECRET, PASSWORD) if secret in logged()]


def test_more_rows_than_values_in_a_statement(django_user_model: Any) -> None:
    owner = user_create()
    from tests.sample.models import Note

    Note.objects.bulk_create(Note(owner=owner, title="t", body="") for _ in range(20_000))
    assert Note.objects.count() == 20_000
    for note in (notes := list(Note.objects.all())):
        note.title = "other"
    Note.objects.bulk_update(notes, ["title"])
    assert Note.objects.filter(title="other").count() == 20_000
    owner.delete()
    assert not Note.objects.exists()
