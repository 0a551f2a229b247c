"""The import of articles: every row is counted, validated as in the API, and stored with the owner's permissions."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from apps.articles.imports import ArticleRowSerializer
from apps.articles.models import Article
from apps.articles.services import article_create
from apps.jobs.imports import run
from apps.jobs.models import Job, JobChunk
from apps.jobs.tasks import job_run
from apps.practices.validation.rows import RowValidator
from tests.apps.accounts.factories import bearer, user_create
from tests.apps.articles.conftest import Caller
from tests.practices.test_validation_rows import rows_agree
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db
HEADER = "title,body,tags,published_at,slug\n"


@pytest.fixture
def send(client: Client, author: Caller) -> Callable[..., Any]:
    """Return a function that posts a file as the author and returns the response."""

    def post(content: str | bytes, *, name: str = "rows.csv", **form: str) -> Any:
        data = content.encode() if isinstance(content, str) else content
        return client.post(
            "/api/v1/articles/imports", {"file": SimpleUploadedFile(name, data), **form}, **author.headers
        )

    return post


@pytest.fixture
def imported(send: Callable[..., Any]) -> Callable[..., Job]:
    """Return a function that posts a file, runs the job and returns it."""

    def run_it(content: str | bytes, **form: str) -> Job:
        answer = send(content, **form)
        assert answer.status_code == 202, answer.content
        job_run(answer.json()["id"])
        job = Job.objects.get(pk=answer.json()["id"])
        if job.state == "succeeded":
            result = job.result
            assert result["rows"] == sum(result[name] for name in ("created", "updated", "skipped", "rejected"))
        return job

    return run_it


def sums(job: Job) -> tuple[int, ...]:
    assert job.state == "succeeded", (job.problem, job.error)
    return tuple(job.result[name] for name in ("rows", "created", "updated", "skipped", "rejected"))


def test_owner_authors_the_imported_articles(imported: Callable[..., Job], author: Caller) -> None:
    job = imported(
        HEADER + "One,<p>Text &amp; more</p><script>x</script>,Sea; land;sea,2024-05-01T00:00:00Z,\n"
        'Two,"a ""quoted""\nline",,,My-Slug\n'
    )
    assert sums(job) == (2, 2, 0, 0, 0)
    one = Article.objects.get(slug="one")
    assert (one.body, one.tags, one.author) == ("<p>Text &amp; more</p>", ["sea", "land"], author.user)
    assert one.summary == "Text & more"
    assert one.version == 1
    two = Article.objects.get(slug="my-slug")
    assert (two.published_at, two.tags) == (None, [])
    assert (job.progress_done, job.progress_total) == (2, 2)
    assert not JobChunk.objects.filter(job=job, purpose="upload").exists()


def test_rejected_rows_have_line_field_and_reason(imported: Callable[..., Job], client: Client, author: Caller) -> None:
    job = imported(
        HEADER.encode() + b"Good,text,,,\n,no title,,,\nNul\x00,text,,,\n,,,,\nShort\nDate,text,,yesterday,\n"
        b"Both,,,never,\n"
    )
    assert sums(job) == (6, 1, 0, 0, 5)
    assert "errors_url" not in job.result, "the serializer adds addresses"
    shown = client.get(f"/api/v1/jobs/{job.pk}", **author.headers).json()
    assert shown["result"] == {**job.result, "errors_url": f"/api/v1/jobs/{job.pk}/result"}
    [listed] = client.get("/api/v1/jobs?fields=result", **author.headers).json()["results"]
    assert listed == {"result": shown["result"]}
    answer = client.get(shown["result"]["errors_url"], **author.headers)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    rows = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert rows == job.result["errors"]
    assert [(row["line"], row["pointer"], row["code"]) for row in rows] == [
        (3, "/title", "required"),
        (4, "/title", "nul"),
        (6, "", "columns"),
        (7, "/published_at", "invalid"),
        (8, "/body", "required"),
    ]
    assert all(row["detail"] for row in rows)
    assert rows[-1]["also"][0]["pointer"] == "/published_at"


def test_errors_url_is_null_after_retention(
    imported: Callable[..., Job], client: Client, author: Caller, settings: Any
) -> None:
    job = imported(HEADER + ",no title,,,\n")
    Job.objects.update(finished_at=timezone.now() - timedelta(days=settings.RETENTION_FILES, minutes=1))
    shown = client.get(f"/api/v1/jobs/{job.pk}", **author.headers).json()
    assert (shown["result"]["rejected"], shown["result"]["errors_url"], shown["result_url"]) == (1, None, None)


def test_conflicts_skip_update_or_reject(imported: Callable[..., Job], author: Caller) -> None:
    rows = HEADER + "One,first,,,\nTwo,second,,,\n"
    assert sums(imported(rows)) == (2, 2, 0, 0, 0)
    changed = rows.replace("first", "changed") + "Three,new,,,\n"
    assert sums(imported(changed)) == (3, 1, 0, 2, 0)
    assert Article.objects.get(slug="one").body == "first"

    assert sums(imported(changed, on_conflict="update")) == (3, 0, 3, 0, 0)
    one = Article.objects.get(slug="one")
    assert (one.body, one.version) == ("changed", 2)

    job = imported(changed + "Four,new,,,\n", on_conflict="error")
    assert sums(job) == (4, 1, 0, 0, 3)
    assert {row["code"] for row in job.result["errors"]} == {"conflict"}


@pytest.mark.parametrize(("role", "updated"), [("other", 0), ("staff+change", 1)])
def test_update_needs_permission(
    imported: Callable[..., Job],
    callers: Callable[[str], Caller],
    client: Client,
    article_make: Callable[..., Article],
    role: str,
    updated: int,
) -> None:
    theirs = article_make(title="Theirs")
    ownerless = article_create(author=None, title="Ownerless", body="text")
    form = {"file": SimpleUploadedFile("x.csv", b"title,body\nTheirs,mine\nOwnerless,mine\n"), "on_conflict": "update"}
    answer = client.post("/api/v1/articles/imports", form, **callers(role).headers)
    job_run(answer.json()["id"])
    job = Job.objects.get(pk=answer.json()["id"])
    assert sums(job) == (2, 0, 2 * updated, 0, 2 - 2 * updated)
    if not updated:
        assert {row["code"] for row in job.result["errors"]} == {"permission"}
        theirs.refresh_from_db()
        ownerless.refresh_from_db()
        assert theirs.body != "mine"
        assert ownerless.body != "mine"


def test_ndjson(imported: Callable[..., Job]) -> None:
    rows = ['{"title": "One", "body": "text", "tags": ["a", "b"]}', '{"title": "Two", "body": "x", "unheard": 1}', "{"]
    job = imported("\n".join(rows), format="ndjson")
    assert sums(job) == (3, 1, 0, 0, 2)
    assert Article.objects.get().tags == ["a", "b"]
    assert [row["pointer"] for row in job.result["errors"]] == ["/unheard", ""]


def test_broken_file_imports_nothing(imported: Callable[..., Job]) -> None:
    job = imported(HEADER + "Good,text,,,\n" + 'Open,"never closed,,,\n')
    assert job.state == "discarded"
    assert job.problem["type"].endswith("/problems/import-malformed")
    assert "Line 3" in job.problem["detail"]
    assert Article.objects.count() == 0
    assert job.attempts == 1


def test_file_with_too_many_rows_imports_nothing(imported: Callable[..., Job]) -> None:
    """docs/validation.md computes the cost of the most expensive file from this limit."""
    job = imported("title,body\n" + "x,y\n" * 1_000_001)
    assert (job.state, job.attempts) == ("discarded", 1)
    assert job.problem["type"].endswith("/problems/import-malformed")
    assert job.problem["detail"].startswith("Line 1000002: the file has more than 1000000 rows.")
    assert Article.objects.count() == 0


@pytest.mark.parametrize(
    ("content", "form", "pointer"),
    [
        ("name,text\na,b\n", {}, "/file"),
        ("title\na\n", {}, "/file"),
        ("", {}, "/file"),
        ("title,body\na,b\n", {"format": "xml"}, "/format"),
        ("title,body\na,b\n", {"on_conflict": "shrug"}, "/on_conflict"),
        ("title,body\na,b\n", {"unheard": "1"}, "/unheard"),
    ],
)
def test_invalid_import_creates_no_job(
    send: Callable[..., Any], content: str, form: dict[str, str], pointer: str
) -> None:
    assert_problem(send(content, **form), 400, "validation", pointer=pointer)
    assert Job.objects.count() == 0


def test_file_over_the_size_limit_is_refused(send: Callable[..., Any], settings: Any) -> None:
    settings.JOBS_IMPORT_MAX_BYTES = 100
    assert_problem(send("title,body\n" + "a,b\n" * 30), 413, "body-too-large")


def test_import_needs_a_user_and_a_form(client: Client, author: Caller) -> None:
    assert_problem(client.post("/api/v1/articles/imports"), 401, "not-authenticated")
    answer = client.post("/api/v1/articles/imports", {}, content_type="application/json", **author.headers)
    assert_problem(answer, 415, "unsupported-media-type")


def test_interrupted_import_resumes(imported: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "BATCH_ROWS", 2)
    stored, calls = run._store, []

    def failing(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("the third batch fails")
        stored(*arguments)

    monkeypatch.setattr(run, "_store", failing)
    rows = "".join(f"Row {number},text,,,\n" for number in range(7)) + ",rejected,,,\n"
    job = imported(HEADER + rows)
    assert (job.state, job.attempts, job.checkpoint["rows"]) == ("retryable", 1, 4)
    assert Article.objects.count() == 4

    Job.objects.filter(pk=job.pk).update(state="queued", run_at=job.created_at)
    job_run(str(job.pk))
    job.refresh_from_db()
    assert sums(job) == (8, 7, 0, 0, 1)
    assert Article.objects.filter(version=1).count() == 7


def test_import_invalidates_the_cached_list(
    send: Callable[..., Any], client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    assert client.get("/api/v1/articles").json()["results"] == []
    answer = send("title,body,published_at\nSeen,text,2024-01-01T00:00:00Z\n")
    with django_capture_on_commit_callbacks(execute=True):
        job_run(answer.json()["id"])
    assert [row["title"] for row in client.get("/api/v1/articles").json()["results"]] == ["Seen"]


def test_nul_in_a_form_fields_name_is_replaced(client: Client, db: None) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="a\x00b"\r\n\r\nx\r\n--b--\r\n'
    path = "/api/v1/articles/imports"
    answer = client.generic("POST", path, body, "multipart/form-data; boundary=b", **bearer(user_create()))
    assert_problem(answer, 400, "validation", pointer="/a\N{REPLACEMENT CHARACTER}b")


@pytest.mark.parametrize("is_text", [True, False], ids=["text", "json"])
def test_rows_get_the_values_and_errors_of_the_serializer(is_text: bool) -> None:
    rows_agree(ArticleRowSerializer, is_text=is_text)
    assert RowValidator(ArticleRowSerializer(), is_text=is_text).is_repeatable
