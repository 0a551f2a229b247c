"""Files of a job, stored as rows of chunks: written and read as streams, never whole in memory."""

import io
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.db.models import Sum
from django.db.models.functions import Length

from apps.jobs.models import CHUNK_BYTES, ChunkPurpose, JobChunk


def upload_store(*, job_id: UUID, owner_id: UUID | None = None, blocks: Iterable[bytes]) -> int:
    """Store the job's upload and return its size in bytes. Call it in the transaction that stores the job."""
    size = 0
    for number, block in enumerate(_rechunked(blocks)):
        JobChunk.objects.create(
            job_id=job_id, owner_id=owner_id, purpose=ChunkPurpose.UPLOAD, number=number, data=block
        )
        size += len(block)
    return size


def result_append(*, job_id: UUID, owner_id: UUID | None = None, data: bytes) -> None:
    """Append to the job's result file. Call it in a fenced transaction: what was written under a lost claim is undone."""
    if not data:
        return
    last = (
        JobChunk.objects.filter(job_id=job_id, purpose=ChunkPurpose.RESULT)
        .order_by("-number")
        .values_list("number", flat=True)
        .first()
    )
    for number, block in enumerate(_rechunked([data]), start=0 if last is None else last + 1):
        JobChunk.objects.create(
            job_id=job_id, owner_id=owner_id, purpose=ChunkPurpose.RESULT, number=number, data=block
        )


def chunks_delete(*, job_id: UUID, purpose: ChunkPurpose) -> None:
    JobChunk.objects.filter(job_id=job_id, purpose=purpose).delete()


def files_delete(*, job_ids: Iterable[UUID]) -> None:
    JobChunk.objects.filter(job_id__in=job_ids).delete()


def chunks_size(**columns: Any) -> int:
    """Return the size in bytes of the chunks with these columns. PostgreSQL knows it without reading them."""
    return JobChunk.objects.filter(**columns).aggregate(size=Sum(Length("data")))["size"] or 0


def chunks_read(*, job_id: UUID, purpose: ChunkPurpose) -> Iterator[bytes]:
    """Yield the chunks of a file. Each takes one short query, so a slow reader holds neither a cursor nor a transaction."""
    rows = JobChunk.objects.filter(job_id=job_id, purpose=purpose).order_by("number")
    number = -1
    while True:
        row = rows.filter(number__gt=number).values_list("number", "data").first()
        if row is None:
            return
        number, data = row
        yield bytes(data)


class ChunkStream(io.RawIOBase):
    """A file of a job as a binary stream. Wrap it in ``io.BufferedReader``."""

    def __init__(self, *, job_id: UUID, purpose: ChunkPurpose) -> None:
        super().__init__()
        self._blocks = chunks_read(job_id=job_id, purpose=purpose)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]  # typeshed's WriteableBuffer
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _rechunked(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in blocks of CHUNK_BYTES, the last one shorter."""
    buffer = bytearray()
    for block in blocks:
        buffer += block
        while len(buffer) >= CHUNK_BYTES:
            yield bytes(buffer[:CHUNK_BYTES])
            del buffer[:CHUNK_BYTES]
    if buffer:
        yield bytes(buffer)
