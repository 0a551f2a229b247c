"""Files in chunks."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

import pytest

from apps.jobs.models import CHUNK_BYTES, ChunkPurpose, Job, JobChunk
from apps.jobs.services.files import ChunkStream, chunks_read, result_append, upload_store

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]


def test_upload_round_trip(job_make: Make) -> None:
    job = job_make()
    data = os.urandom(2 * CHUNK_BYTES + 17)
    blocks = [data[start : start + 300_000] for start in range(0, len(data), 300_000)]
    assert upload_store(job_id=job.pk, blocks=blocks) == len(data)
    sizes = [len(chunk.data) for chunk in JobChunk.objects.filter(job=job).order_by("number")]
    assert sizes == [CHUNK_BYTES, CHUNK_BYTES, 17]
    stream = io.BufferedReader(ChunkStream(job_id=job.pk, purpose=ChunkPurpose.UPLOAD), 4096)
    assert stream.read() == data


def test_result_is_appended_to(job_make: Make) -> None:
    job = job_make()
    for data in (b"one\n", b"", b"x" * (CHUNK_BYTES + 1), b"end"):
        result_append(job_id=job.pk, data=data)
    found = b"".join(chunks_read(job_id=job.pk, purpose=ChunkPurpose.RESULT))
    assert found == b"one\n" + b"x" * (CHUNK_BYTES + 1) + b"end"
