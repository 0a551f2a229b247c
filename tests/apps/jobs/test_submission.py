"""Submissions: permissions, exact limits, unique kinds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.jobs.models import Job, JobChunk
from apps.jobs.services import claims, job_submit
from apps.jobs.services.purge import jobs_purge
from apps.jobs.services.submission import TooManyJobs
from apps.jobs.tasks import job_run
from apps.practices.errors import PermissionDenied
from tests.apps.accounts.factories import bearer, user_create
from tests.problems import assert_problem
from tests.races import at_once, in_thread

Make = Callable[..., Job]
COUNTS, CENSUSES = "/api/v1/sample/notes/counts", "/api/v1/sample/notes/censuses"
MOST, RIVALS = 5, 20


def submit(client: Client, headers: dict[str, Any]) -> Any:
    return client.post(COUNTS, {"seconds": 0}, content_type="application/json", **headers)


@pytest.fixture
def few(settings: Any) -> None:
    settings.JOBS_PER_USER = MOST


@pytest.mark.django_db(transaction=True)
def test_concurrent_submissions_keep_the_limit(few: None) -> None:
    mine, others = user_create(), user_create()
    headers = bearer(mine)
    answers = at_once(RIVALS, lambda _: submit(Client(), headers))
    assert sorted(answer.status_code for answer in answers) == [202] * MOST + [429] * (RIVALS - MOST)
    assert Job.objects.filter(owner=mine).count() == MOST
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert_problem(refused, 429, "too-many-jobs")
    assert int(refused.headers["Retry-After"]) >= 1
    assert submit(Client(), bearer(others)).status_code == 202  # another's limit is their own


@pytest.mark.django_db
def test_finished_jobs_do_not_count_and_retries_do(client: Client, few: None, owner: User, job_make: Make) -> None:
    headers = bearer(owner)
    for state in ("succeeded", "discarded", "cancelled"):
        job_make(state=state, finished_at=timezone.now())
    waiting = [job_make() for _ in range(MOST - 1)]
    failed = Job.objects.get(state="discarded")
    assert client.post(f"/api/v1/jobs/{failed.pk}/retry", content_type="application/json", **headers).status_code == 202
    assert_problem(submit(client, headers), 429, "too-many-jobs")
    Job.objects.filter(state="succeeded").update(state="discarded")
    another = Job.objects.get(state="discarded")
    assert_problem(
        client.post(f"/api/v1/jobs/{another.pk}/retry", content_type="application/json", **headers),
        429,
        "too-many-jobs",
    )
    assert client.delete(f"/api/v1/jobs/{waiting[0].pk}", **headers).status_code == 200
    assert submit(client, headers).status_code == 202


@pytest.mark.django_db
def test_refused_upload_stores_nothing(few: None, owner: User, job_make: Make) -> None:
    for _ in range(MOST):
        job_make()
    with pytest.raises(TooManyJobs):
        job_submit(kind="sample.count", owner=owner, parameters={}, upload=SimpleUploadedFile("a.csv", b"a" * 99))
    assert (Job.objects.count(), JobChunk.objects.count()) == (MOST, 0)


@pytest.mark.django_db
def test_jobs_of_the_service_have_no_limit(few: None) -> None:
    for _ in range(MOST + 1):
        job_submit(kind="sample.count", owner=None, parameters={"seconds": 0})
    job_submit(kind="sample.census", owner=None, parameters={})
    assert Job.objects.filter(owner=None).count() == MOST + 2


@pytest.mark.django_db
def test_kind_requires_its_permission(client: Client, owner: User) -> None:
    assert_problem(client.post(CENSUSES, **bearer(owner)), 403, "permission-denied")
    with pytest.raises(PermissionDenied):
        job_submit(kind="sample.census", owner=owner, parameters={})
    assert not Job.objects.exists()
    job = client.post(CENSUSES, **bearer(user_create(permissions=("sample.view_note",)))).json()
    job_run(job["id"])
    assert Job.objects.get().state == "succeeded"


@pytest.fixture
def holder(db: None) -> User:
    return user_create(permissions=("sample.view_note",))


def asked(user: User) -> Any:
    answer = Client().post(CENSUSES, **bearer(user))
    assert answer.status_code == 202, answer.content
    return answer


@pytest.mark.django_db
def test_unique_kind_returns_the_queued_job(holder: User, few: None, settings: Any) -> None:
    first = asked(holder)
    settings.JOBS_PER_USER = 1
    for _ in range(14):
        again = asked(holder)
        assert (again.json()["id"], again["Location"]) == (first.json()["id"], first["Location"])
    settings.JOBS_PER_USER = MOST
    assert asked(user_create(permissions=("sample.view_note",))).json()["id"] != first.json()["id"]
    job_run(first.json()["id"])
    assert asked(holder).json()["id"] != first.json()["id"], "what it read is older than the request"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "columns",
    [
        {"state": "running", "leased_until": timezone.now()},
        {"state": "cancelled", "finished_at": timezone.now()},
        {"attempts": 1},
        {"checkpoint": 7},
        {"parameters": {"other": 1}},
        {"kind": "sample.count"},
        {"state": "scheduled", "run_at": timezone.now() + timedelta(hours=1)},
    ],
    ids=str,
)
def test_unique_kind_shares_only_equal_queued_jobs(holder: User, job_make: Make, columns: dict[str, Any]) -> None:
    job_make(**{"kind": "sample.census", "owner": holder, "parameters": {}, **columns})
    assert Job.objects.filter(pk=asked(holder).json()["id"], attempts=0, state="queued").exists()
    assert Job.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_concurrent_unique_submissions_share_one_job(holder: User) -> None:
    headers = bearer(holder)
    ids = at_once(RIVALS, lambda _: Client().post(CENSUSES, **headers).json()["id"])
    assert len(set(ids)) == 1
    assert Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_job_being_claimed_is_not_shared(holder: User) -> None:
    first = asked(holder).json()["id"]
    with transaction.atomic():
        assert claims.job_claim(claimer=claims.Claimer(queue="default", worker="w", runner="1-1")) is not None
        with ThreadPoolExecutor(1) as thread:
            other = thread.submit(in_thread, asked, holder).result(30).json()["id"]
    assert other != first


@pytest.mark.django_db
def test_permission_is_checked_again_at_the_start(client: Client) -> None:
    holder = user_create(permissions=("sample.view_note",))
    job = client.post(CENSUSES, **bearer(holder)).json()
    holder.user_permissions.remove(Permission.objects.get(codename="view_note"))
    job_run(job["id"])
    row = Job.objects.get()
    assert (row.state, row.result) == ("discarded", None)
    assert row.problem["type"].endswith("/problems/permission-denied")


@pytest.mark.django_db
@pytest.mark.parametrize("by", ["somebody", "the service"])
def test_upload_is_stored(owner: User, by: str) -> None:
    somebody = owner if by == "somebody" else None
    job = job_submit(kind="sample.count", owner=somebody, parameters={"seconds": 0}, upload=ContentFile(b"rows"))
    assert [bytes(chunk.data) for chunk in JobChunk.objects.filter(job_id=job.pk)] == [b"rows"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("state", ["new", "discarded"])
def test_accepted_job_is_answered_though_purged(
    job_make: Make, owner: User, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """With its owner's account, say, by a request at the same time."""
    retried = job_make(state="discarded", finished_at=timezone.now()) if state == "discarded" else None
    headers = bearer(owner)

    def gone(**_: Any) -> bool:
        jobs_purge(owner_id=owner.pk)
        return True

    monkeypatch.setattr("apps.jobs.services.submission.publish", gone)
    if retried is not None:
        answer = Client().post(f"/api/v1/jobs/{retried.pk}/retry", content_type="application/json", **headers)
    else:
        answer = submit(Client(), headers)
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert not Job.objects.exists()
