"""Quotas on files, per owner and in all, and their retention."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.jobs.imports import run
from apps.jobs.models import Job, JobChunk
from apps.jobs.services.files import chunks_size, result_append
from apps.jobs.services.quota import files_total
from apps.jobs.tasks import job_run
from apps.practices.privacy.retention import retentions
from tests.apps.accounts.factories import admin_sign_in, bearer, user_create
from tests.problems import assert_problem

pytestmark = [pytest.mark.django_db, pytest.mark.urls("project.urls")]
Make = Callable[..., Job]
IMPORTS, EXPORTS, ROWS = "/api/v1/articles/imports", "/api/v1/articles/exports", 40
RESULT = {"result_type": "application/x-ndjson", "result_name": "a.ndjson"}


@pytest.fixture
def owner(db: None) -> User:
    return user_create()


@pytest.fixture
def job_make(owner: User) -> Make:
    def make(**columns: Any) -> Job:
        return Job.objects.create(**{"kind": "articles.report", "owner": owner, "parameters": {}, **columns})

    return make


@pytest.fixture(autouse=True)
def looks_at_once() -> None:
    files_total.cache_clear()


def send(client: Client, owner: User, content: bytes, **form: Any) -> Any:
    return client.post(IMPORTS, {"file": SimpleUploadedFile("rows.csv", content), **form}, **bearer(owner))


def export(client: Client, owner: User) -> Any:
    return client.post(EXPORTS, {"format": "ndjson"}, content_type="application/json", **bearer(owner))


def articles(client: Client, owner: User) -> None:
    rows = "".join(f"T{number},{'x' * 500},2024-01-01T00:00:00Z\n" for number in range(ROWS))
    job_run(send(client, owner, f"title,body,published_at\n{rows}".encode()).json()["id"])
    assert Job.objects.get().result["created"] == ROWS


def succeeded(job_make: Make, data: bytes, **columns: Any) -> Job:
    job = job_make(**{"state": "succeeded", "finished_at": timezone.now(), **RESULT, **columns})
    result_append(job_id=job.pk, owner_id=job.owner_id, data=data)
    return job


def test_upload_over_quota_is_refused(client: Client, owner: User, settings: Any) -> None:
    settings.JOBS_FILES_PER_USER = 3000
    content = b"title,body\n" + b"a,b\n" * 400
    assert send(client, owner, content).status_code == 202
    answer = send(client, owner, content)
    assert_problem(answer, 429, "files-quota")
    assert int(answer.headers["Retry-After"]) > 0
    assert (Job.objects.count(), chunks_size(owner_id=owner.pk)) == (1, len(content))
    assert send(client, user_create(), content).status_code == 202, "each owner has a quota"
    client.delete(f"/api/v1/jobs/{Job.objects.filter(owner=owner).get().pk}", **bearer(owner))
    assert send(client, owner, content).status_code == 202, "files of cancelled jobs are deleted"


def test_used_up_quota_refuses_any_job(client: Client, owner: User, settings: Any, job_make: Make) -> None:
    settings.JOBS_FILES_PER_USER = 3000
    succeeded(job_make, b"x" * 3000)
    assert_problem(export(client, owner), 429, "files-quota")
    assert export(client, user_create()).status_code == 202


def test_total_of_all_files_is_bounded(client: Client, owner: User, settings: Any, job_make: Make) -> None:
    settings.JOBS_FILES_TOTAL = 3000
    succeeded(job_make, b"x" * 3000, owner=user_create())
    assert_problem(export(client, owner), 503, "storage-full")
    assert_problem(send(client, owner, b"title,body\na,b\n"), 503, "storage-full")


def test_result_over_quota_fails_and_can_resume(client: Client, owner: User, settings: Any) -> None:
    articles(client, owner)
    settings.JOBS_FILES_PER_USER = 3000
    job_id = export(client, owner).json()["id"]
    job_run(job_id)
    shown = client.get(f"/api/v1/jobs/{job_id}", **bearer(owner)).json()
    assert (shown["state"], shown["problem"]["type"].rpartition("/")[2]) == ("discarded", "files-quota")
    assert chunks_size(owner_id=owner.pk) <= 3000
    settings.JOBS_FILES_PER_USER = 10**6
    again = client.post(f"/api/v1/jobs/{job_id}/retry", content_type="application/json", **bearer(owner))
    assert again.status_code == 202
    job_run(job_id)
    content = b"".join(client.get(f"/api/v1/jobs/{job_id}/result", **bearer(owner)).streaming_content)
    assert content.count(b"\n") == ROWS
    assert chunks_size(owner_id=owner.pk) == len(content)


def test_list_of_rejected_rows_is_bounded(client: Client, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "REJECTED_BYTES", 2000)
    job_run(send(client, owner, b"{}\n" * 3000, format="ndjson").json()["id"])
    result = Job.objects.get().result
    answer = client.get(f"/api/v1/jobs/{Job.objects.get().pk}/result", **bearer(owner))
    lines = b"".join(answer.streaming_content).splitlines(keepends=True)
    assert (result["rejected"], result["errors_listed"]) == (3000, len(lines))
    assert [json.loads(line)["line"] for line in lines] == list(range(1, len(lines) + 1))
    assert 1000 < sum(map(len, lines)) <= 2000


def test_result_files_are_pruned_before_their_jobs(client: Client, owner: User, settings: Any, job_make: Make) -> None:
    settings.RETENTION_FILES = 7
    day = timedelta(days=1)
    old = succeeded(job_make, b"old", finished_at=timezone.now() - 8 * day)
    fresh = succeeded(job_make, b"fresh", finished_at=timezone.now() - 6 * day)
    failed = succeeded(job_make, b"half", state="discarded", finished_at=timezone.now() - 8 * day)
    headers = bearer(owner)
    for _ in range(2):  # before and after pruning
        assert_problem(client.get(f"/api/v1/jobs/{old.pk}/result", **headers), 410, "result-expired")
        assert client.get(f"/api/v1/jobs/{old.pk}", **headers).json()["result_url"] is None
        listed = {row["id"]: row["result_url"] for row in client.get("/api/v1/jobs", **headers).json()["results"]}
        assert (listed[str(old.pk)], bool(listed[str(fresh.pk)])) == (None, True)
        [retention] = [one for one in retentions() if one.name == "job-files"]
        list(retention.prune(now=timezone.now()))
    assert set(JobChunk.objects.values_list("job_id", flat=True)) == {fresh.pk, failed.pk}
    assert Job.objects.count() == 3
    answer = client.get(f"/api/v1/jobs/{fresh.pk}/result", **headers)
    assert b"".join(answer.streaming_content) == b"fresh"
    answer.close()


def test_admin_shows_the_size_of_files(client: Client, owner: User, settings: Any, job_make: Make) -> None:
    settings.JOBS_FILES_PER_USER = 10 * 1024
    job = succeeded(job_make, b"x" * 2048)
    admin_sign_in(client, user_create(is_staff=True, is_superuser=True))
    page = client.get(f"/admin/jobs/job/{job.pk}/change/").content.decode().replace("\xa0", " ")
    assert "2.0 KB of 10.0 KB" in page
