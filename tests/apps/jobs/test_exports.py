"""Exports: every row once, in constant memory, resumed from the last checkpoint."""

from __future__ import annotations

import codecs
import json
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client

from apps.accounts.models import User
from apps.jobs import exports
from apps.jobs.context import JobContext
from apps.jobs.exports import EXPORT_FORMATS, ExportParametersSerializer, ExportSpec, export_run
from apps.jobs.kinds import JobKind
from apps.jobs.models import Job, JobChunk, JobStop
from apps.jobs.services.claims import Claimer, ClaimLost, job_claim
from apps.jobs.tasks import job_run
from apps.practices.database.declarations import Projected
from tests.apps.accounts.factories import bearer
from tests.problems import assert_problem
from tests.sample.models import Note

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]
ROWS = 120
FIELDS = {"id": Projected("id"), "title": Projected("title")}


def spec() -> ExportSpec:
    return ExportSpec(name="notes", rows=Note.objects.all(), fields=FIELDS)


@JobKind("sample.export", serializer=ExportParametersSerializer)
def sample_export(context: JobContext, *, format: str) -> dict[str, Any]:
    """Export the notes."""
    return export_run(context, spec=spec(), format=format)


@pytest.fixture
def notes(owner: User) -> list[Note]:
    return Note.objects.bulk_create(Note(owner=owner, title=f"Note {number}", body="") for number in range(ROWS))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "CHUNK_BYTES", 1000)


def read(client: Client, job: Job, owner: User) -> list[dict[str, Any]]:
    answer = client.get(f"/api/v1/jobs/{job.pk}/result", **bearer(owner))
    assert answer.status_code == 200
    return [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]


def test_every_row_is_written_once(client: Client, owner: User, notes: list[Note], small: None, job_make: Make) -> None:
    job = job_make(kind="sample.export", parameters={"format": "ndjson"})
    job_run(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.progress_done, job.progress_total) == ("succeeded", ROWS, ROWS), job.error
    assert job.result == {"rows": ROWS, "format": "ndjson"}
    assert [row["id"] for row in read(client, job, owner)] == sorted(str(note.pk) for note in notes)
    sizes = [len(chunk.data) for chunk in JobChunk.objects.filter(job=job)]
    assert len(sizes) > 5
    assert max(sizes) <= 1000


def test_failed_attempt_is_resumed(
    client: Client, owner: User, notes: list[Note], small: None, job_make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = EXPORT_FORMATS["csv"]
    seen: list[Any] = []

    def dying(row: Any) -> bytes:
        seen.append(row["id"])
        if len(seen) == 70:
            raise OSError("the machine stops")
        return written.row(row)

    format = exports.Format(content_type=written.content_type, header=written.header, row=dying)
    monkeypatch.setitem(EXPORT_FORMATS, "csv", format)
    job = job_make(kind="sample.export", parameters={"format": "csv"})
    job_run(str(job.pk))
    job.refresh_from_db()
    assert (job.state, 0 < job.progress_done < ROWS) == ("retryable", True)
    assert_problem(client.get(f"/api/v1/jobs/{job.pk}/result", **bearer(owner)), 409, "job-unfinished")
    again = len(seen)
    Job.objects.update(state="queued", run_at=Now())  # as the relay does when its pause is over
    job_run(str(job.pk))
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    # Only rows after the last checkpoint are read again: the failed batch, and a row or two per block.
    assert len(seen) - again < ROWS
    content = b"".join(client.get(f"/api/v1/jobs/{job.pk}/result", **bearer(owner)).streaming_content)
    assert content.count(codecs.BOM_UTF8) == 1
    lines = content.decode("utf-8-sig").splitlines()
    assert lines[0] == '"id","title"'
    assert len(lines) == len(set(lines)) == ROWS + 1


def test_lost_claim_writes_nothing(notes: list[Note], small: None, job_make: Make) -> None:
    job = job_make(kind="sample.export", parameters={"format": "ndjson"})
    held = job_claim(claimer=Claimer(queue="default", worker="one", runner="one"))
    assert held is not None
    Job.objects.filter(pk=job.pk).update(fence=held.fence + 1)  # another worker has claimed it
    with pytest.raises(ClaimLost):
        export_run(JobContext(held), spec=spec(), format="ndjson")
    assert not JobChunk.objects.exists()


def test_cancellation_between_two_blocks(
    client: Client, owner: User, notes: list[Note], small: None, job_make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = EXPORT_FORMATS["csv"]
    seen: list[Any] = []

    def asking(row: Any) -> bytes:
        seen.append(row)
        Job.objects.update(stop=JobStop.CANCEL)
        return written.row(row)

    monkeypatch.setitem(
        EXPORT_FORMATS, "csv", exports.Format(content_type="text/csv", header=written.header, row=asking)
    )
    job = job_make(kind="sample.export", parameters={"format": "csv"})
    job_run(str(job.pk))
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert len(seen) < ROWS / 2
    assert_problem(client.get(f"/api/v1/jobs/{job.pk}/result", **bearer(owner)), 409, "job-unfinished")


def test_export_without_rows(client: Client, owner: User, job_make: Make) -> None:
    job = job_make(kind="sample.export", parameters={"format": "csv"})
    job_run(str(job.pk))
    job.refresh_from_db()
    assert job.result == {"rows": 0, "format": "csv"}
    content = client.get(f"/api/v1/jobs/{job.pk}/result", **bearer(owner)).streaming_content
    assert b"".join(content) == codecs.BOM_UTF8 + b'"id","title"\r\n'


def test_values_in_each_format() -> None:
    row = {
        "none": None,
        "yes": True,
        "below": -3,
        "money": Decimal("-1.50"),
        "day": date(2026, 1, 2),
        "time": datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
        "words": ["a", "=b"],
        "json": {"a": [1, None]},
        "key": uuid.UUID(int=7),
        "text": "-1",
    }
    assert EXPORT_FORMATS["csv"].row(row).decode() == (
        '"","true","-3","-1.50","2026-01-02","2026-01-02T03:04:05.000600Z","a;=b","{""a"": [1, null]}",'
        '"00000000-0000-0000-0000-000000000007","\'-1"\r\n'
    )
    assert json.loads(EXPORT_FORMATS["ndjson"].row(row)) == {
        **row,
        "money": "-1.50",
        "day": "2026-01-02",
        "time": "2026-01-02T03:04:05.000600Z",
        "key": "00000000-0000-0000-0000-000000000007",
    }
