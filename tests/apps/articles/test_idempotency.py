"""Idempotency-Key on the operations that create articles or submit jobs."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.accounts.models import User
from apps.articles.models import Article
from apps.jobs.models import Job
from tests.apps.accounts.factories import bearer, user_create
from tests.problems import assert_problem
from tests.repetitions import assert_repeated, send

pytestmark = pytest.mark.django_db
ARTICLES = "/api/v1/articles"


@pytest.fixture
def owner() -> User:
    return user_create()


def upload(owner: User, content: bytes, *, key: str = "k", **fields: Any) -> Any:
    form = {"file": SimpleUploadedFile("rows.csv", content, "text/csv"), **fields}
    return Client().post(f"{ARTICLES}/imports", form, **bearer(owner), HTTP_IDEMPOTENCY_KEY=key)


def test_article_is_created_once(owner: User) -> None:
    first, again = (send(owner, ARTICLES, {"title": "One", "body": "Text"}) for _ in range(2))
    assert first.status_code == 201, first.content
    assert_repeated(first, again)
    assert {"ETag", "Location", "Content-Type"} <= set(first.headers)
    assert Article.objects.count() == 1
    read = Client().get(first["Location"], **bearer(owner))
    assert (read.content, read["ETag"]) == (first.content, first["ETag"])


def test_import_is_submitted_once(owner: User) -> None:
    rows = b"title,body\n" + b"".join(b"Title %d,Text\n" % number for number in range(60_000))  # spooled to disk
    first, again = (upload(owner, rows) for _ in range(2))
    assert first.status_code == 202, first.content
    assert_repeated(first, again)
    job = Job.objects.get()
    assert b"".join(bytes(chunk.data) for chunk in job.chunks.order_by("number")) == rows
    assert_problem(upload(owner, rows + b"One,more\n"), 422, "idempotency-key-reused")
    assert_problem(upload(owner, rows, on_conflict="update"), 422, "idempotency-key-reused")
    assert Job.objects.count() == 1


@pytest.mark.parametrize("path", ["reports", "exports"])
def test_export_and_report_are_submitted_once(owner: User, path: str) -> None:
    first, again = (send(owner, f"{ARTICLES}/{path}", {}) for _ in range(2))
    assert first.status_code == 202, first.content
    assert_repeated(first, again)
    assert Job.objects.count() == 1


def test_taken_slug_leaves_the_key_free(owner: User) -> None:
    body = {"title": "One", "body": "Text", "slug": "one"}
    Article.objects.create(**body)
    assert_problem(send(owner, ARTICLES, body), 409, "slug-taken", pointer="/slug")
    Article.objects.all().delete()
    assert send(owner, ARTICLES, body).status_code == 201


def test_title_that_exists_gets_another_slug(owner: User) -> None:
    Article.objects.create(title="One", body="Text", slug="one")
    first, again = (send(owner, ARTICLES, {"title": "One", "body": "Text"}) for _ in range(2))
    assert_repeated(first, again)
    assert first.json()["slug"] != "one"
