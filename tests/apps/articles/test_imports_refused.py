"""A row that PostgreSQL refuses is rejected alone; the other rows of the file are imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from apps.articles.models import Article
from apps.jobs.imports import run
from apps.jobs.models import Job, JobState
from apps.jobs.tasks import job_run
from tests.apps.articles.conftest import Caller

pytestmark = pytest.mark.django_db
# A trigger refuses a row whose title is a SQLSTATE with that code: at once or, after "late", at the end of the transaction.
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'refused: %', NEW.body USING ERRCODE = right(NEW.title, 5); END $$;
CREATE TRIGGER refuse BEFORE INSERT ON articles_article FOR EACH ROW
    WHEN (NEW.title ~ '^[0-9A-Z]{5}$') EXECUTE FUNCTION refuse();
CREATE CONSTRAINT TRIGGER refuse_late AFTER INSERT ON articles_article DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.title ~ '^late [0-9A-Z]{5}$') EXECUTE FUNCTION refuse();
"""


@pytest.fixture
def database_refuses(db: None) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(REFUSE)
        yield
        cursor.execute("DROP TRIGGER refuse_late ON articles_article; DROP TRIGGER refuse ON articles_article")
        cursor.execute("DROP FUNCTION refuse")


@pytest.fixture
def imported(client: Client, author: Caller) -> Callable[[list[str]], Job]:
    def run_it(titles: list[str]) -> Job:
        content = "title,body\n" + "".join(f"{title},secret-{n}\n" for n, title in enumerate(titles))
        file = SimpleUploadedFile("rows.csv", content.encode())
        answer = client.post("/api/v1/articles/imports", {"file": file}, **author.headers)
        assert answer.status_code == 202, answer.content
        job_run(answer.json()["id"])
        return Job.objects.get(pk=answer.json()["id"])

    return run_it


@pytest.mark.parametrize("state", ["22001", "22P05", "23514", "23502", "23503", "54000", "late 23503", "late 22003"])
def test_refused_row_is_rejected_alone(
    state: str, imported: Callable[[list[str]], Job], database_refuses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "BATCH_ROWS", 10)  # the refused row is in the second of three batches
    titles = [f"Row {n}" for n in range(25)]
    titles[13] = state
    job = imported(titles)
    assert job.state == JobState.SUCCEEDED, (job.problem, job.error)
    assert {name: job.result[name] for name in ("rows", "created", "rejected")} == {
        "rows": 25,
        "created": 24,
        "rejected": 1,
    }
    (error,) = job.result["errors"]
    assert error["line"] == 15
    assert error["code"] in ("out_of_range", "refused", "conflict")
    assert "secret" not in str(job.result)
    assert Article.objects.count() == 24


def test_each_refused_row_is_found(imported: Callable[[list[str]], Job], database_refuses: None) -> None:
    titles = [f"Row {n}" if n % 3 else f"2200{n % 10}" for n in range(40)]
    job = imported(titles)
    assert job.state == JobState.SUCCEEDED
    assert [error["line"] for error in job.result["errors"]] == [n + 2 for n in range(0, 40, 3)]
    assert Article.objects.count() == 40 - 14


def test_error_not_caused_by_a_row_is_retried(imported: Callable[[list[str]], Job], database_refuses: None) -> None:
    job = imported(["Row 1", "40001", "Row 2"])
    assert job.state == JobState.RETRYABLE
    assert not Article.objects.exists()


def test_letter_that_grows_in_lower_case(imported: Callable[[list[str]], Job]) -> None:
    job = imported(["İ" * 120])
    assert job.result["created"] == 1
    assert Article.objects.get().slug == "i" * 120
