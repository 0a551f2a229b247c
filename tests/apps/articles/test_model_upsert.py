"""``ModelUpsert``: the outcome of each row, by owner and permission."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import User
from apps.articles.models import Article
from apps.jobs.imports import ImportRow, ModelUpsert, OnConflict, Outcome, Rejection
from apps.jobs.models import JobChunk
from tests.apps.accounts.factories import user_create
from tests.sample.models import Note

pytestmark = pytest.mark.django_db
SKIP, UPDATE, ERROR = OnConflict.SKIP, OnConflict.UPDATE, OnConflict.ERROR


@pytest.fixture
def owner() -> User:
    return user_create()


def row(slug: str, **values: Any) -> ImportRow:
    return ImportRow(2, slug, {"slug": slug, "title": "New", "body": "", **values})


def articles(owner: User, **more: Any) -> ModelUpsert:
    return ModelUpsert(
        model=Article, key="slug", constants={"author_id": owner.pk}, writable=Q(author_id=owner.pk), **more
    )


@pytest.fixture
def there(owner: User) -> dict[str, Article]:
    return {
        "mine": Article.objects.create(author=owner, slug="mine", title="Old"),
        "theirs": Article.objects.create(author=user_create(), slug="theirs", title="Old"),
    }


@pytest.mark.parametrize(
    ("on_conflict", "mine", "theirs"),
    [(SKIP, "skipped", "skipped"), (UPDATE, "updated", "permission"), (ERROR, "conflict", "conflict")],
)
def test_outcome_of_each_row(
    owner: User, there: dict[str, Article], on_conflict: OnConflict, mine: str, theirs: str
) -> None:
    changed: list[Any] = []
    store = articles(owner, on_written=lambda *ids: changed.extend(ids))
    outcomes = store(rows=[row("new"), row("mine"), row("theirs")], on_conflict=on_conflict)
    found = {key: one.code if isinstance(one, Rejection) else str(one) for key, one in outcomes.items()}
    assert found == {"new": "created", "mine": mine, "theirs": theirs}
    titles = dict(Article.objects.values_list("slug", "title"))
    assert titles == {"new": "New", "mine": "New" if mine == "updated" else "Old", "theirs": "Old"}
    versions = dict(Article.objects.values_list("slug", "version"))
    assert versions == {"new": 1, "mine": 2 if mine == "updated" else 1, "theirs": 1}
    new = Article.objects.get(slug="new")
    assert new.author_id == owner.pk
    assert changed == ([there["mine"].pk] if mine == "updated" else [])


def test_batch_takes_as_many_statements_as_a_row(owner: User, there: dict[str, Article]) -> None:
    counts = []
    for rows in ([row("a"), row("mine")], [*(row(f"b{number}") for number in range(50)), row("mine")]):
        with CaptureQueriesContext(connection) as queries:
            articles(owner)(rows=rows, on_conflict=UPDATE)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_rows_change_only_the_fields_that_they_have(owner: User) -> None:
    for name in ("a", "b"):
        Article.objects.create(author=owner, slug=name, title="Old", body="Old", tags=["old"])
    at = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)
    texts = ['"', "\\", "a\nb\tc", "{}", "é\u2028", "NULL", ""]
    rows = [
        ImportRow(2, "a", {"slug": "a", "title": "New"}),
        ImportRow(3, "b", {"slug": "b", "title": "Old", "body": "\\N\n", "tags": texts, "published_at": at}),
        ImportRow(4, "c", {"title": "'; --", "body": "", "tags": [], "published_at": None}),
    ]
    assert set(articles(owner)(rows=rows, on_conflict=UPDATE).values()) == {Outcome.UPDATED, Outcome.CREATED}
    assert list(
        Article.objects.order_by("slug").values_list("slug", "title", "body", "tags", "published_at", "version")
    ) == [
        ("a", "New", "Old", ["old"], None, 2),
        ("b", "Old", "\\N\n", texts, at, 2),
        ("c", "'; --", "", [], None, 1),
    ]


def test_without_a_key_every_row_is_new(owner: User) -> None:
    store = ModelUpsert(model=Note, key=None, constants={"owner_id": owner.pk})
    rows = [ImportRow(number, str(number), {"title": "Same", "body": ""}) for number in (2, 3)]
    assert store(rows=rows, on_conflict=UPDATE) == {"2": Outcome.CREATED, "3": Outcome.CREATED}
    assert Note.objects.filter(title="Same", owner=owner).count() == 2


def test_dangling_reference_is_rejected_alone(owner: User) -> None:
    store = ModelUpsert(model=Article, key="slug", references={"author": User.objects.all()})
    rows = [row("a", author=owner.pk), row("b", author=UUID(int=0)), row("c", author=None)]
    outcomes = store(rows=rows, on_conflict=SKIP)
    assert (outcomes["a"], outcomes["c"]) == (Outcome.CREATED, Outcome.CREATED)
    refused = outcomes["b"]
    assert isinstance(refused, Rejection)
    assert (refused.pointer, refused.code) == ("/author", "does_not_exist")
    assert set(Article.objects.values_list("slug", "author_id")) == {("a", owner.pk), ("c", None)}


def test_clash_of_another_column_is_rejected_alone(owner: User) -> None:
    """A model with two unique columns: title is the key here, slug the other one."""
    for number in (1, 2, 3):
        Article.objects.create(author=owner, slug=f"s{number}", title=f"T{number}")
    store = ModelUpsert(model=Article, key="title", writable=Q(author_id=owner.pk))
    rows = [
        ImportRow(2, "T1", {"title": "T1", "slug": "s3", "body": "x"}),  # is T3's
        ImportRow(3, "T2", {"title": "T2", "slug": "s3", "body": "x"}),  # as well
        ImportRow(4, "T3", {"title": "T3", "slug": "s3", "body": "x"}),
    ]
    outcomes = store(rows=rows, on_conflict=UPDATE)
    assert outcomes["T3"] is Outcome.UPDATED
    assert all(isinstance(outcomes[key], Rejection) for key in ("T1", "T2"))
    assert list(Article.objects.order_by("title").values_list("slug", "body")) == [("s1", ""), ("s2", ""), ("s3", "x")]


def test_fields_that_json_cannot_carry_are_refused(owner: User) -> None:
    upsert = ModelUpsert(model=JobChunk, key=None)
    with pytest.raises(ImproperlyConfigured, match="Write an Upsert"):
        upsert(rows=[ImportRow(2, "1", {"data": b"1"})], on_conflict=ERROR)
