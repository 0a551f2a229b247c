"""The export of articles has all that the list shows its owner, and can be imported again."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from apps.articles.models import Article
from apps.jobs.models import Job
from apps.jobs.tasks import job_run
from tests.apps.articles.conftest import Caller
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db
URL = "/api/v1/articles/exports"
COLUMNS = ["title", "body", "tags", "published_at", "slug", "summary"]
Exported = Callable[..., bytes]


@pytest.fixture
def exported(client: Client, author: Caller) -> Exported:
    """Return a function that exports and returns the file."""

    def run_it(*, by: Caller = author, **parameters: Any) -> bytes:
        answer = client.post(URL, parameters, content_type="application/json", **by.headers)
        assert answer.status_code == 202, answer.content
        job_run(answer.json()["id"])
        job = Job.objects.get(pk=answer.json()["id"])
        assert job.state == "succeeded", (job.problem, job.error)
        file = client.get(f"/api/v1/jobs/{job.pk}/result", **by.headers)
        assert file.headers["Content-Disposition"] == f'attachment; filename="articles.{job.result["format"]}"'
        content = b"".join(file.streaming_content)
        assert (job.progress_done, job.progress_total) == (job.result["rows"], job.result["rows"])
        return content

    return run_it


def titles(content: bytes) -> list[str]:
    return [json.loads(line)["title"] for line in content.splitlines()]


def stored() -> list[Any]:
    return list(Article.objects.order_by("slug").values_list(*COLUMNS))


def test_ndjson_round_trip(
    exported: Exported, article_make: Callable[..., Article], client: Client, author: Caller
) -> None:
    article_make(title="=1+1", tags=["sea", "höhe"], body="<p>Text &amp; &lt;b&gt;more&lt;/b&gt;</p>")
    article_make(title="Given", summary="A summary of its own", slug="given-slug")
    article_make(title="Blank", summary="", body="<p>" + "long words " * 200 + "</p>")
    article_make(title='Quotes " ; , and\u00e9 \U0001f30a', published_at=timezone.now() - timedelta(microseconds=1))
    article_make(title="To come", published_at=timezone.now() + timedelta(days=3))
    article_make(title="Draft", published_at=None)
    before = stored()
    content = b"".join(exported(format="ndjson", state=state) for state in ("published", "scheduled", "draft"))
    Article.objects.all().delete()
    sent = client.post(
        "/api/v1/articles/imports",
        {"file": SimpleUploadedFile("rows.ndjson", content), "format": "ndjson"},
        **author.headers,
    )
    job_run(sent.json()["id"])
    assert Job.objects.get(pk=sent.json()["id"]).result["created"] == 6
    assert stored() == before
    # Generated slugs and summaries are still recognised as generated.
    article = Article.objects.get(slug="11")
    client.patch(
        f"/api/v1/articles/{article.pk}", {"body": "<p>Other</p>"}, content_type="application/json", **author.headers
    )
    article.refresh_from_db()
    assert article.summary == "Other"


def test_csv_is_safe_and_can_be_imported(
    exported: Exported, article_make: Callable[..., Article], client: Client, author: Caller
) -> None:
    article_make(title="=HYPERLINK(1)", slug="formula")
    article_make(title="Two\u00e9", body='<p>a "quoted", text</p>', tags=["sea", "land"], slug="plain")
    before = stored()
    content = exported()
    assert content.startswith(codecs.BOM_UTF8), "without it Excel does not read UTF-8"
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert list(rows[0]) == COLUMNS
    assert {row["title"] for row in rows} == {"'=HYPERLINK(1)", "Two\u00e9"}
    Article.objects.all().delete()
    sent = client.post("/api/v1/articles/imports", {"file": SimpleUploadedFile("a.csv", content)}, **author.headers)
    job_run(sent.json()["id"])
    assert stored()[1] == before[1]
    assert stored()[0][0] == "'=HYPERLINK(1)"


def test_export_has_what_the_list_shows(
    exported: Exported, article_make: Callable[..., Article], callers: Callable[[str], Caller], client: Client
) -> None:
    other = callers("other")
    for name, values in {
        "public": {"tags": ["sea"]},
        "mine": {"published_at": None},
        "theirs": {"published_at": None, "author": other.user},
        "coming": {"published_at": timezone.now() + timedelta(days=1), "author": other.user},
        "second": {"author": other.user, "tags": ["sea", "land"]},
    }.items():
        article_make(title=name, **values)
    author, reader = callers("author"), callers("staff+view")
    asked: list[tuple[Caller, dict[str, Any]]] = [
        (author, {}),
        (author, {"state": "draft"}),
        (author, {"state": "scheduled"}),
        (other, {"state": "scheduled"}),
        (reader, {"state": "draft"}),
        (reader, {"tag": "land"}),
        (reader, {"author": str(other.user.pk)}),
        (reader, {"author": str(other.user.pk), "state": "draft"}),
    ]
    for who, parameters in asked:
        listed = client.get("/api/v1/articles", parameters, **who.headers).json()["results"]
        found = titles(exported(by=who, format="ndjson", **parameters))
        assert sorted(found) == sorted(row["title"] for row in listed), (who.user.name, parameters)
    assert titles(exported(format="ndjson", tag="land")) == ["second"]
    assert titles(exported(format="ndjson", state="draft", author=str(other.user.pk))) == []


def test_export_uses_permissions_at_its_start(
    article_make: Callable[..., Article], callers: Callable[[str], Caller], client: Client
) -> None:
    article_make(title="Draft", published_at=None)
    reader = callers("staff+view")
    job = client.post(URL, {"state": "draft"}, content_type="application/json", **reader.headers).json()
    reader.user.user_permissions.clear()
    job_run(job["id"])
    assert Job.objects.get().result["rows"] == 0


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"format": "xlsx"}, "/format"),
        ({"author": "me"}, "/author"),
        ({"tag": "a;b"}, "/tag"),
        ({"to": "me"}, "/to"),
        ([], ""),
    ],
)
def test_invalid_parameters_are_pointed_at(client: Client, author: Caller, body: Any, pointer: str) -> None:
    answer = client.post(URL, body, content_type="application/json", **author.headers)
    assert_problem(answer, 400, "validation", pointer=pointer)
    assert not Job.objects.exists()
