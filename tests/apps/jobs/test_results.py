"""Polling a job and reading its result: cheap, private and within limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.jobs.models import Job
from apps.jobs.services import downloads
from apps.jobs.services.files import result_append
from apps.practices.errors.streams import StreamBroken
from tests.apps.accounts.factories import bearer, user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]


@pytest.fixture
def filed(job_make: Make) -> Job:
    """Return a job with a result file of two chunks."""
    job = job_make(
        state="succeeded",
        finished_at=timezone.now(),
        result={"rows": 2},
        result_name='tides "of" the höhe.csv',
        result_type="text/csv; charset=utf-8",
    )
    for block in (b"one\r\n", b"two\r\n"):
        result_append(job_id=job.pk, data=block)
    return job


@pytest.fixture(autouse=True)
def nobody_reads() -> Iterator[None]:
    yield
    assert not downloads._active, "a download was not closed"


def test_unchanged_job_is_304(client: Client, owner: User, job_make: Make) -> None:
    job, headers = job_make(state="running", leased_until=timezone.now(), progress_done=1), bearer(owner)
    first = client.get(f"/api/v1/jobs/{job.pk}", **headers)
    again = client.get(f"/api/v1/jobs/{job.pk}", HTTP_IF_NONE_MATCH=first.headers["ETag"], **headers)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["Retry-After"] == first.headers["Retry-After"]
    Job.objects.update(progress_done=2)
    moved = client.get(f"/api/v1/jobs/{job.pk}", HTTP_IF_NONE_MATCH=first.headers["ETag"], **headers)
    assert (moved.status_code, moved.json()["progress"]["done"]) == (200, 2)


def test_result_file_headers(client: Client, owner: User, filed: Job) -> None:
    answer = client.get(f"/api/v1/jobs/{filed.pk}/result", **bearer(owner))
    assert b"".join(answer.streaming_content) == b"one\r\ntwo\r\n"
    found = answer.headers
    assert found["Content-Disposition"].startswith("attachment; filename")
    assert "\n" not in found["Content-Disposition"]
    assert found["Content-Type"] == "text/csv; charset=utf-8"
    assert found["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in found["Content-Security-Policy"]
    assert found["Cache-Control"] == "private, no-cache"
    assert found["Content-Length"] == "10"
    assert {"Authorization", "Cookie"} <= set(found["Vary"].replace(" ", "").split(","))


def test_openapi_names_the_result_headers(client: Client) -> None:
    paths = client.get("/api/schema", HTTP_ACCEPT="application/json").json()["paths"]
    job, result = paths["/api/v1/jobs/{id}"], paths["/api/v1/jobs/{id}/result"]
    for answer in (job["get"]["responses"]["200"], job["get"]["responses"]["304"], job["delete"]["responses"]["200"]):
        assert not answer["headers"]["Retry-After"].get("required"), "none once the job has ended"
        assert answer["headers"]["Retry-After"]["schema"]["type"] == "integer"
    assert result["get"]["responses"]["200"]["headers"]["Content-Disposition"]["schema"]["type"] == "string"


@pytest.mark.parametrize("accept", ["text/csv", "application/json", "text/html;q=0.9, image/png", "*/*"])
def test_result_type_ignores_accept(client: Client, owner: User, filed: Job, job_make: Make, accept: str) -> None:
    plain = job_make(state="succeeded", finished_at=timezone.now(), result={"counted": 1})
    headers = bearer(owner) | {"HTTP_ACCEPT": accept}
    file = client.get(f"/api/v1/jobs/{filed.pk}/result", **headers)
    assert (file.status_code, b"".join(file.streaming_content)) == (200, b"one\r\ntwo\r\n")
    assert file.headers["Content-Type"] == "text/csv; charset=utf-8"
    result = client.get(f"/api/v1/jobs/{plain.pk}/result", **headers)
    assert (result.json(), result.headers["Content-Type"]) == ({"counted": 1}, "application/json")
    filed.delete()
    assert_problem(client.get(f"/api/v1/jobs/{filed.pk}/result", **headers), 404, "not-found")


def test_deleted_file_breaks_the_download_off(client: Client, owner: User, filed: Job) -> None:
    answer = client.get(f"/api/v1/jobs/{filed.pk}/result", **bearer(owner))
    blocks = iter(answer.streaming_content)
    assert next(blocks) == b"one\r\n"
    filed.delete()
    with pytest.raises(StreamBroken):
        list(blocks)
    answer.close()


def test_staff_may_read_but_not_cancel(client: Client, job_make: Make) -> None:
    columns = {"state": "succeeded", "finished_at": timezone.now(), "result": {"notes": 1}}
    shared, own = job_make(kind="sample.census", parameters={}, **columns), job_make(**columns)
    staff = bearer(user_create(permissions=("jobs.view_job",), is_staff=True))
    assert client.get(f"/api/v1/jobs/{shared.pk}", **staff).json()["id"] == str(shared.pk)
    assert client.get(f"/api/v1/jobs/{shared.pk}/result", **staff).json() == {"notes": 1}
    assert_problem(client.get(f"/api/v1/jobs/{own.pk}", **staff), 404, "not-found")
    assert_problem(client.get(f"/api/v1/jobs/{own.pk}/result", **staff), 404, "not-found")
    assert_problem(client.delete(f"/api/v1/jobs/{shared.pk}", **staff), 404, "not-found")
    assert_problem(
        client.post(f"/api/v1/jobs/{shared.pk}/retry", content_type="application/json", **staff), 404, "not-found"
    )
    plain = bearer(user_create(is_staff=True))
    assert_problem(client.get(f"/api/v1/jobs/{shared.pk}", **plain), 404, "not-found")


def test_slow_downloads_leave_threads_free(client: Client, owner: User, filed: Job, settings: Any) -> None:
    settings.JOBS_DOWNLOADS = 4
    url, headers = f"/api/v1/jobs/{filed.pk}/result", bearer(owner)
    reading = [client.get(url, **headers) for _ in range(2)]
    assert [answer.status_code for answer in reading] == [200, 200]
    refused = client.get(url, **headers)
    assert_problem(refused, 503, "downloads-busy")
    assert int(refused.headers["Retry-After"]) >= 1
    assert client.get(f"/api/v1/jobs/{filed.pk}", **headers).status_code == 200  # all else goes on
    places = [downloads.Download(job_id=filed.pk, reader_id=user_create().pk) for _ in range(2)]
    with pytest.raises(downloads.DownloadsBusy):  # the process is full
        downloads.Download(job_id=filed.pk, reader_id=user_create().pk)
    for place in (*places, *places):  # closed twice is closed once
        place.close()
    for answer in reading:
        b"".join(answer.streaming_content)  # the test client closes what is read
    assert b"".join(client.get(url, **headers).streaming_content) == b"one\r\ntwo\r\n"


def test_failed_download_frees_its_place(
    client: Client, owner: User, filed: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> Iterator[bytes]:
        raise RuntimeError("sesame")
        yield b""

    monkeypatch.setattr(downloads, "chunks_read", broken)
    client.raise_request_exception = False
    answer = client.get(f"/api/v1/jobs/{filed.pk}/result", **bearer(owner))
    assert_problem(answer, 500, "internal-error")
