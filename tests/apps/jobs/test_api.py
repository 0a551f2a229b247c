"""The API of jobs, open only to their owners."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import User
from apps.jobs.models import UNFINISHED, Job, JobState
from apps.jobs.selectors import job_list
from apps.jobs.services.files import result_append
from apps.jobs.tasks import job_run
from tests.apps.accounts.factories import admin_sign_in, bearer, user_create
from tests.plans import explained
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]


@pytest.fixture
def headers(owner: User) -> dict[str, Any]:
    return bearer(owner)


def test_submit_poll_and_read_result(client: Client, headers: dict[str, Any]) -> None:
    answer = client.post("/api/v1/sample/notes/counts", {"seconds": 0}, content_type="application/json", **headers)
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert job["created_at"].endswith("Z")
    assert (job["state"], job["result"], job["result_url"]) == ("queued", None, None)
    row = Job.objects.get()
    assert row.request_id == answer.headers["X-Request-ID"]

    waiting = client.get(answer.headers["Location"], **headers)
    assert waiting.headers["Retry-After"]
    job_run(job["id"])
    done = client.get(answer.headers["Location"], **headers)
    assert "Retry-After" not in done.headers
    assert done.json()["state"] == "succeeded"
    assert done.json()["progress"]["percent"] == 100
    result = client.get(done.json()["result_url"], **headers)
    assert result.json() == done.json()["result"]
    assert result.json()["counted"] >= 0


def test_result_file_is_streamed(client: Client, headers: dict[str, Any], job_make: Make) -> None:
    job = job_make(
        state="succeeded",
        finished_at=timezone.now(),
        result={},
        result_name="rejected.ndjson",
        result_type="application/x-ndjson",
    )
    result_append(job_id=job.pk, data=b'{"line":1}\n')
    result_append(job_id=job.pk, data=b'{"line":2}\n')
    answer = client.get(f"/api/v1/jobs/{job.pk}/result", **headers)
    assert answer.streaming
    assert b"".join(answer.streaming_content) == b'{"line":1}\n{"line":2}\n'
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="rejected.ndjson"'
    assert "private" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(("method", "path"), [("get", ""), ("delete", ""), ("get", "/result"), ("post", "/retry")])
def test_jobs_of_others_are_not_found(client: Client, job_make: Make, method: str, path: str) -> None:
    job = job_make(state="discarded", finished_at=timezone.now())
    stranger = bearer(user_create(is_staff=True, permissions=("jobs.view_job",)))
    call = partial(getattr(client, method), content_type="application/json")
    assert_problem(call(f"/api/v1/jobs/{job.pk}{path}", **stranger), 404, "not-found")
    assert_problem(call(f"/api/v1/jobs/{job.pk}{path}"), 401, "not-authenticated")
    assert client.get("/api/v1/jobs", **stranger).json()["results"] == []
    job.refresh_from_db()
    assert job.state == "discarded"


def test_list_pages_and_filters(client: Client, headers: dict[str, Any], job_make: Make) -> None:
    made = [str(job_make().pk) for _ in range(3)]
    ended = job_make(kind="other", state="cancelled", finished_at=timezone.now())
    first = client.get("/api/v1/jobs?limit=3", **headers).json()
    second = client.get(first["next"], **headers).json()
    assert [row["id"] for row in first["results"] + second["results"]] == [str(ended.pk), *reversed(made)]
    for one in ("state=cancelled", "kind=other"):
        found = client.get(f"/api/v1/jobs?{one}&fields=id,state", **headers).json()["results"]
        assert found == [{"id": str(ended.pk), "state": "cancelled"}]
    assert_problem(client.get("/api/v1/jobs?state=lost", **headers), 400, "validation", pointer="?state")


@pytest.mark.parametrize("state", JobState.values)
def test_list_by_state_and_kind(client: Client, headers: dict[str, Any], job_make: Make, state: str) -> None:
    times = {
        "leased_until": timezone.now() if state == "running" else None,
        "finished_at": None if state in UNFINISHED else timezone.now(),
    }
    made = [str(job_make(kind="wanted", state=state, **times).pk) for _ in range(3)]
    job_make(kind="other", state=state, **times)
    other = {"state": "queued"} if state == "discarded" else {"state": "discarded", "finished_at": timezone.now()}
    job_make(kind="wanted", **other)
    job_make(kind="wanted", owner=user_create(), state=state, **times)
    for ordering, expected in (("-created_at", made[::-1]), ("created_at", made)):
        url = f"/api/v1/jobs?state={state}&kind=wanted&ordering={ordering}&limit=2&fields=id"
        first = client.get(url, **headers).json()
        second = client.get(first["next"], **headers).json()
        assert [row["id"] for row in first["results"] + second["results"]] == expected
        assert second["next"] is None
        assert client.get(second["previous"], **headers).json()["results"] == first["results"]
        assert_problem(
            client.get(first["next"].replace("wanted", "other"), **headers), 400, "validation", pointer="?cursor"
        )


@pytest.mark.parametrize("state", UNFINISHED)
def test_unfinished_jobs_are_found_without_the_history(owner: User, state: str) -> None:
    """Even when PostgreSQL's statistics are from a time with many of them."""
    waiting = {"state": state, "leased_until": timezone.now() if state == "running" else None}
    ended = {"state": "succeeded", "finished_at": timezone.now()}
    Job.objects.bulk_create(
        Job(kind="other" if number % 10 else "wanted", owner=owner, **(waiting if number % 20 < 10 else ended))
        for number in range(3000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_job")
        cursor.execute("SET LOCAL enable_seqscan = off")  # small as the table is
    Job.objects.update(**ended, leased_until=None)
    rows = job_list(owner_id=owner.pk, state=state, kind="wanted").order_by("-created_at", "-id").values("id")[:26]
    with CaptureQueriesContext(connection) as queries:
        assert not list(rows)
    assert explained(queries[0]["sql"]).visited("jobs_job") == 0


def test_cancel_a_waiting_job(client: Client, headers: dict[str, Any], job_make: Make) -> None:
    job = job_make()
    assert client.delete(f"/api/v1/jobs/{job.pk}", **headers).json()["state"] == "cancelled"
    job_run(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("cancelled", 0)
    assert_problem(client.get(f"/api/v1/jobs/{job.pk}/result", **headers), 409, "job-unfinished")


def test_retry_only_discarded_jobs(client: Client, headers: dict[str, Any], job_make: Make) -> None:
    failed = job_make(state="discarded", finished_at=timezone.now(), attempts=5, problem={"title": "x"}, checkpoint=[3])
    answer = client.post(f"/api/v1/jobs/{failed.pk}/retry", content_type="application/json", **headers)
    assert answer.status_code == 202
    assert (answer.json()["state"], answer.json()["attempts"], answer.json()["problem"]) == ("queued", 0, None)
    failed.refresh_from_db()
    assert failed.checkpoint == [3]
    assert_problem(
        client.post(f"/api/v1/jobs/{failed.pk}/retry", content_type="application/json", **headers),
        409,
        "job-not-discarded",
    )


def test_problem_matches_its_schema(client: Client, headers: dict[str, Any], job_make: Make, owner: User) -> None:
    schemas = client.get("/api/schema", HTTP_ACCEPT="application/json").json()["components"]["schemas"]
    assert {"$ref": "#/components/schemas/JobProblem"} in schemas["Job"]["properties"]["problem"]["oneOf"]
    job = job_make(parameters={"seconds": "soon"})
    job_run(str(job.pk))
    problem = client.get(f"/api/v1/jobs/{job.pk}", **headers).json()["problem"]
    assert set(schemas["JobProblem"]["required"]) <= set(problem) <= set(schemas["JobProblem"]["properties"])


def test_problem_names_job_and_request(client: Client, headers: dict[str, Any], job_make: Make, owner: User) -> None:
    job = job_make(parameters={"seconds": "soon"}, request_id="request-of-the-submission")
    job_run(str(job.pk))
    for shown in (
        client.get(f"/api/v1/jobs/{job.pk}", **headers).json(),
        *client.get("/api/v1/jobs", **headers).json()["results"],
        *client.get("/api/v1/jobs?fields=problem", **headers).json()["results"],
    ):
        assert shown["problem"]["request_id"] == "request-of-the-submission"
        assert shown["problem"]["instance"] == f"/api/v1/jobs/{job.pk}"
    admin_sign_in(client, user_create(is_staff=True, is_superuser=True))
    page = client.get(f"/admin/jobs/job/{job.pk}/change/").content.decode()
    assert "&quot;request_id&quot;: &quot;request-of-the-submission&quot;" in page
    Job.objects.update(request_id="")
    assert client.get(f"/api/v1/jobs/{job.pk}", **headers).json()["problem"]["request_id"] is None


@pytest.mark.parametrize(
    ("state", "done", "total", "shown"),
    [
        ("queued", 0, None, (0, None, None)),
        ("scheduled", 0, None, (0, None, None)),
        ("retryable", 2, 3, (2, 3, 66)),
        ("running", 1, None, (1, None, None)),
        ("running", 1, 3, (1, 3, 33)),
        ("running", 3, 3, (3, 3, 99)),
        ("running", 5, 3, (3, 3, 99)),
        ("running", 0, 0, (0, 0, 0)),
        ("discarded", 3, 3, (3, 3, 99)),
        ("cancelled", 2, 3, (2, 3, 66)),
        ("succeeded", 1, 3, (3, 3, 100)),
        ("succeeded", 5, 3, (3, 3, 100)),
        ("succeeded", 7, None, (7, None, 100)),
        ("succeeded", 0, 0, (0, 0, 100)),
    ],
)
def test_progress_matches_the_state(
    client: Client,
    headers: dict[str, Any],
    job_make: Make,
    state: str,
    done: int,
    total: int | None,
    shown: tuple[int, int | None, int | None],
) -> None:
    """A job is at 100 percent exactly when it has succeeded, and never has more done than there is."""
    has_ended = state not in UNFINISHED
    job = job_make(
        state=state,
        progress_done=done,
        progress_total=total,
        finished_at=timezone.now() if has_ended else None,
        leased_until=timezone.now() if state == "running" else None,
    )
    progress = client.get(f"/api/v1/jobs/{job.pk}", **headers).json()["progress"]
    assert (progress["done"], progress["total"], progress["percent"]) == shown


@pytest.mark.parametrize("body", ['{"unheard": 1}', '{"unheard": ', "[]", "null", "0"])
def test_retry_takes_no_body(client: Client, headers: dict[str, Any], job_make: Make, body: str) -> None:
    failed = job_make(state="discarded", finished_at=timezone.now())
    answer = client.post(f"/api/v1/jobs/{failed.pk}/retry", body, content_type="application/json", **headers)
    assert answer.status_code == 400
    failed.refresh_from_db()
    assert failed.state == "discarded"


def test_invalid_parameters_create_no_job(client: Client, headers: dict[str, Any]) -> None:
    answer = client.post("/api/v1/sample/notes/counts", {"seconds": -1}, content_type="application/json", **headers)
    assert_problem(answer, 400, "validation", pointer="/seconds")
    answer = client.post("/api/v1/sample/notes/counts", {"unheard": 1}, content_type="application/json", **headers)
    assert_problem(answer, 400, "validation", pointer="/unheard")
    assert Job.objects.count() == 0


def test_job_of_a_deactivated_owner_is_discarded(owner: User, job_make: Make) -> None:
    job = job_make()
    User.objects.filter(pk=owner.pk).update(is_active=False)
    job_run(str(job.pk))
    job.refresh_from_db()
    assert job.state == "discarded"
    assert job.problem["type"].endswith("/problems/permission-denied")


def test_unexpected_error_is_retried_and_hidden(
    client: Client, headers: dict[str, Any], job_make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.sample.tasks.STEP", "sesame")
    job = job_make(parameters={"seconds": 1})
    job_run(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("retryable", 1)
    assert "TypeError" in job.error
    assert "TypeError" not in client.get(f"/api/v1/jobs/{job.pk}", **headers).content.decode()


def test_admin_cannot_delete_jobs(client: Client, job_make: Make) -> None:
    job = job_make(progress_done=30, progress_total=60)
    admin = user_create(is_staff=True, is_superuser=True)
    admin_sign_in(client, admin)
    page = client.get("/admin/jobs/job/").content.decode()
    assert "50 %" in page
    assert client.post(f"/admin/jobs/job/{job.pk}/delete/", {"post": "yes"}).status_code == 403
