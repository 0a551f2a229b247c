"""database, prepared SQL: what is kept is what the ORM would compile, and what could differ is not kept."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from unittest import mock
from urllib.parse import urlencode, urlsplit
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection, models, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.sql.compiler import SQLCompiler
from django.test import RequestFactory, override_settings
from django.utils import timezone

from apps.accounts.models import SecurityEvent, User
from apps.accounts.selectors.users import user_read
from apps.practices.database import prepared as module
from apps.practices.database.prepared import SHAPES, prepared, statement_for
from tests.sample.filters import NOTES
from tests.sample.models import Note
from tests.sample.selectors import note_list

FIELDS = ("id", "title")


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    module._statement.cache_clear()
    yield
    module._statement.cache_clear()


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create(email="owner@example.com", name="Owner")


@pytest.fixture
def notes(owner: User) -> list[Note]:
    random.seed(11)
    made = Note.objects.bulk_create(
        [Note(owner=owner, title=random.choice("abc"), body="x", published=n % 9 != 0) for n in range(40)]
    )
    for note in made:
        note.created_at = timezone.now() - timedelta(seconds=random.choice([1, 2, 3]))
    Note.objects.bulk_update(made, ["created_at"])
    return made


def no_orm() -> Any:
    """Fail whatever compiles a query."""
    return mock.patch.object(SQLCompiler, "as_sql", side_effect=AssertionError("the ORM compiled a query"))


def learned(read: Callable[[], Any]) -> Any:
    """Return what a read returns without the ORM, after two uses."""
    with override_settings(DATABASE_VERIFIES_PREPARED=False):
        first, second = read(), read()
        with no_orm():
            third = read()
    assert first == second == third == read()
    return third


# --- what is kept


def test_every_page_is_what_the_orm_reads(notes: list[Note]) -> None:
    """Random walks over filters, orderings, limits and fields, each page also read by the ORM."""
    random.seed(5)
    pages = 0
    for _ in range(12):
        asked = {"ordering": random.choice(list(NOTES.orderings)), "limit": random.choice([1, 5, 13])}
        if random.random() < 0.5:
            asked["title"] = random.choice("abc")
        if random.random() < 0.5:
            asked["fields"] = ",".join(random.sample(list(NOTES.fields), 3))
        if not NOTES.served(asked["ordering"], {"title"} & set(asked)):
            continue
        reference: str | None = f"/api/v1/sample/notes?{urlencode(asked)}"
        while reference:
            query = NOTES.parse(RequestFactory().get(reference))
            expected = NOTES.read(query, note_list(**query.filters))
            for _ in range(3):  # with the ORM, while it is learned, and kept; the latter is verified, too
                assert NOTES.read(query, note_list, **query.filters) == expected
            with override_settings(DATABASE_VERIFIES_PREPARED=False), no_orm():
                assert NOTES.read(query, note_list, **query.filters) == expected
            reference = expected.previous if pages % 7 == 6 else expected.next
            pages += 1
    assert pages > 30


def test_reads_by_key_need_no_orm(owner: User) -> None:
    other = User.objects.create(email="other@example.com", name="Other")
    assert learned(lambda: user_read(user_id=owner.pk))["name"] == "Owner"
    with override_settings(DATABASE_VERIFIES_PREPARED=False), no_orm():
        row = user_read(user_id=other.pk)
    assert row == {**User.objects.filter(pk=other.pk).values(*row).get()}


def test_missing_rows_are_none(db: None) -> None:
    assert learned(lambda: _note.first(note_id=UUID(int=7))) is None


@prepared
def _note(*, note_id: UUID) -> QuerySet[Note, Any]:
    return Note.objects.filter(pk=note_id).values(*FIELDS)


@prepared
def _titled(*, title: str | None, published: bool = True) -> QuerySet[Note, Any]:
    found = Note.objects.filter(published=published).order_by("created_at", "id").values(*FIELDS)
    return found.filter(title=title) if title else found


def test_absent_and_empty_values_have_their_own_sql(notes: list[Note]) -> None:
    def expected(**compared: Any) -> Any:
        return Note.objects.filter(**compared).order_by("created_at", "id").values(*FIELDS).first()

    for published in (True, False):
        for title in ("a", "b", None, "", "a", "zzz"):
            compared = {"published": published, **({"title": title} if title else {})}
            assert learned(lambda: _titled.first(title=title, published=published)) == expected(**compared)  # noqa: B023


# --- what is not


@prepared
def _compares(*, title: str) -> QuerySet[Note, Any]:
    return Note.objects.filter(title="b" if title == "a" else title).order_by("id").values(*FIELDS)


@prepared
def _changes(*, title: str) -> QuerySet[Note, Any]:
    return Note.objects.filter(title=title.lower()).order_by("id").values(*FIELDS)


@prepared
def _formats(*, title: str) -> QuerySet[Note, Any]:
    return Note.objects.filter(title=f"{title}").order_by("id").values(*FIELDS)


@prepared
def _looks_up(*, title: str) -> QuerySet[Note, Any]:
    return Note.objects.filter(title={"a": "b"}.get(title, title)).order_by("id").values(*FIELDS)


@prepared
def _contains(*, title: str) -> QuerySet[Note, Any]:
    return Note.objects.filter(title__icontains=title).order_by("id").values(*FIELDS)


@prepared
def _among(*, title: str) -> QuerySet[Note, Any]:
    return Note.objects.filter(title__in=[title, "c"]).order_by("id").values(*FIELDS)


@prepared
def _asks(*, title: str) -> QuerySet[Note, Any]:
    some = list(Note.objects.order_by("id").values_list("title", flat=True)[:1])
    return Note.objects.filter(title__in=some).filter(title=title).values(*FIELDS)


@prepared
def _now(*, title: str) -> QuerySet[Note, Any]:
    return Note.objects.filter(title=title, created_at__lte=timezone.now()).order_by("id").values(*FIELDS)


@prepared
def _today(*, title: str) -> QuerySet[Note, Any]:
    return Note.objects.filter(title=title, created_at__year=timezone.now().year).order_by("id").values(*FIELDS)


@prepared
def _subquery(*, title: str) -> QuerySet[Note, Any]:
    return Note.objects.filter(pk__in=Note.objects.filter(title=title).values("pk")).order_by("id").values(*FIELDS)


@prepared
def _looks_at_the_type(*, title: str) -> QuerySet[Note, Any]:
    return Note.objects.filter(title=title).order_by("id" if isinstance(title, str) else "-id").values(*FIELDS)


@prepared
def _exists(*, title: str) -> QuerySet[Note, Any]:
    same = Note.objects.filter(title=title, pk=OuterRef("pk"))
    return Note.objects.filter(Exists(same)).order_by("id").values(*FIELDS)


@prepared
def _elsewhere(*, title: str) -> QuerySet[Note, Any]:
    return Note.objects.using("default").filter(title=title).order_by("id").values(*FIELDS)


@pytest.mark.parametrize(
    "read",
    [
        _compares,
        _changes,
        _formats,
        _looks_up,
        _contains,
        _asks,
        _now,
        _today,
        _subquery,
        _looks_at_the_type,
        _exists,  # the conditions of a subquery may compare fields that change values
        _elsewhere,  # a kept statement asks the database that the router names
    ],
)
def test_what_depends_on_more_than_places_is_not_kept(notes: list[Note], read: Any) -> None:
    for title in "bbaaAc":
        assert read.first(title=title) == read._function(title=title).first()
    assert statement_for(read, {"title": "a"}).sql is None


def test_lists_of_arguments_keep_their_length(notes: list[Note]) -> None:
    for title in "aabbzz":
        assert _among.first(title=title) == _among._function(title=title).first()


@pytest.mark.parametrize("value", [["a"], {"a"}, object(), 1.5, b"a", User(pk=uuid4()), 2**31])
def test_other_arguments_are_not_kept(value: Any) -> None:
    try:
        assert statement_for("x", {"value": value}) is not statement_for("x", {"value": value})
    except TypeError:
        pytest.fail("an argument without a hash")


def test_fields_that_change_values_are_not_kept(notes: list[Note], monkeypatch: pytest.MonkeyPatch) -> None:
    """A field of the project's own could change one value and not another."""
    own = models.CharField.get_prep_value
    monkeypatch.setattr(models.CharField, "get_prep_value", lambda self, value: own(self, value))
    for _ in range(3):
        _titled.first(title="a")
    assert statement_for(_titled, {"title": "a"}).sql is None


def test_keys_of_fields_that_change_values_are_not_kept(
    notes: list[Note], owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A foreign key sends what the key that it refers to makes of a value."""

    @prepared
    def owned(*, owner_id: UUID) -> QuerySet[Note, Any]:
        return Note.objects.filter(owner=owner_id).order_by("id").values(*FIELDS)

    key = models.UUIDField.get_prep_value
    monkeypatch.setattr(models.UUIDField, "get_prep_value", lambda self, value: key(self, value))
    for _ in range(3):
        assert owned.first(owner_id=owner.pk) is not None
    assert statement_for(owned, {"owner_id": owner.pk}).sql is None


@pytest.mark.parametrize("method", ["get_prep_value", "get_db_prep_value"])
def test_either_method_may_change_a_value(notes: list[Note], monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    own = getattr(models.CharField, method)
    monkeypatch.setattr(models.CharField, method, lambda self, *values, **named: own(self, *values, **named))
    for _ in range(3):
        _titled.first(title="a")
    assert statement_for(_titled, {"title": "a"}).sql is None


def test_arguments_that_stand_for_another_are_not_kept(notes: list[Note]) -> None:
    @prepared
    def swapped(*, title: str, other: str) -> QuerySet[Note, Any]:
        return Note.objects.filter(title=title if isinstance(title, str) else other).order_by("id").values(*FIELDS)

    for title, other in ("ab", "ab", "ab", "ba"):
        assert swapped.first(title=title, other=other) == swapped._function(title=title, other=other).first()
    assert statement_for(swapped, {"title": "a", "other": "b"}).sql is None


def test_columns_that_are_converted_are_not_kept(owner: User) -> None:
    """The ORM makes a value of JSON from its text. Kept rows are as psycopg loads them."""

    @prepared
    def event(*, event_id: UUID) -> QuerySet[SecurityEvent, Any]:
        return SecurityEvent.objects.filter(pk=event_id).values("detail")

    stored = SecurityEvent.objects.create(kind="sign-in", created_at=timezone.now(), user=owner, detail={"a": [1]})
    for _ in range(4):
        assert event.first(event_id=stored.pk) == {"detail": {"a": [1]}}


def test_literals_belong_to_the_shape(db: None) -> None:
    """A selector decides what a choice means, which may differ for each."""
    shapes = [statement_for("x", {"state": state}, frozenset({"state"})) for state in ("draft", "published", "draft")]
    assert shapes[0] is shapes[2] is not shapes[1]
    assert statement_for("x", {"title": "a"}) is statement_for("x", {"title": "b"})


def test_numbers_are_sent_as_their_column(notes: list[Note]) -> None:
    @prepared
    def numbered(*, version: int) -> QuerySet[Note, Any]:
        return Note.objects.filter(version=version).order_by("id").values(*FIELDS)

    assert learned(lambda: numbered.first(version=1)) is not None
    assert numbered.first(version=40_000) is None
    assert numbered.first(version=2**70) is None
    assert numbered.first(version=0) is None


def test_what_changes_outside_of_the_arguments_is_an_error(notes: list[Note]) -> None:
    hidden = ["a"]

    @prepared
    def secret(*, published: bool) -> QuerySet[Note, Any]:
        return Note.objects.filter(title=hidden[0], published=published).order_by("id").values(*FIELDS)

    for _ in range(3):
        secret.first(published=True)
    hidden[0] = "b"
    with pytest.raises(AssertionError, match="depends on more than the arguments"):
        secret.first(published=True)


def test_a_process_keeps_a_bounded_number(db: None) -> None:
    for number in range(SHAPES + 50):
        statement_for(number, {})
    assert module._statement.cache_info().currsize == SHAPES


# --- on the server


def names() -> set[str]:
    """Return the statements that the connection has prepared."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return {statement for (statement,) in cursor.fetchall()}


@pytest.fixture
def preparing(transactional_db: None) -> Iterator[psycopg.Connection[Any]]:
    """Return the connection, as in a web process: it prepares."""
    connection.ensure_connection()
    held = connection.connection
    held.prepare_threshold = 2
    yield held
    held.prepare_threshold = None
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")


def test_only_kept_statements_are_prepared(preparing: psycopg.Connection[Any]) -> None:
    for _ in range(8):
        assert _note.first(note_id=uuid4()) is None
        assert not Note.objects.filter(title="a").exists()
    (found,) = names()
    assert '"sample_note"."id" = $1' in found


def test_nothing_is_prepared_in_a_transaction(preparing: psycopg.Connection[Any]) -> None:
    with transaction.atomic():
        for _ in range(8):
            assert _note.first(note_id=uuid4()) is None
    assert not names()


def test_reads_survive_a_changed_table_and_lost_statements(preparing: psycopg.Connection[Any]) -> None:
    owner = User.objects.create(email="owner@example.com")
    note = Note.objects.create(owner=owner, title="a")
    expected = {"id": note.pk, "title": "a"}
    for _ in range(8):
        assert _note.first(note_id=note.pk) == expected
    assert names()
    try:
        with (
            connection.cursor() as cursor
        ):  # of another process: a statement of this connection would be noticed by psycopg
            parameters = {**connection.get_connection_params(), "context": None, "cursor_factory": psycopg.Cursor}
            with psycopg.connect(**parameters) as other:
                other.execute("ALTER TABLE sample_note ALTER title TYPE varchar(201)")
        for _ in range(8):
            assert _note.first(note_id=note.pk) == expected
        assert names()
        preparing.pgconn.exec_(b"DEALLOCATE ALL")  # as a pooler's other session would
        for _ in range(8):
            assert _note.first(note_id=note.pk) == expected
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE sample_note ALTER title TYPE varchar(200)")


def test_web_processes_prepare_without_pgbouncer() -> None:
    from settings.components import database

    direct = database._database("postgres://u:p@localhost/d")
    through = database._database("postgres://u:p@localhost/d", is_pgbouncer=True)
    assert "prepare_threshold" not in through["OPTIONS"]
    assert ("prepare_threshold" in direct["OPTIONS"]) is (database._KIND == "web")


def test_links_are_followed_without_the_orm(notes: list[Note]) -> None:
    """The whole of a read, as a view does it: parse, read, and the references to other pages."""

    def pages() -> list[Any]:
        reference, found = "/api/v1/sample/notes?limit=7&fields=id,created_at", []
        while reference:
            query = NOTES.parse(RequestFactory().get(reference))
            page = NOTES.read(query, note_list, **query.filters)
            found.append(page.results)
            assert page.next is None or urlsplit(page.next).path == "/api/v1/sample/notes"
            reference = page.next or ""
        return found

    pages()
    assert learned(pages)
