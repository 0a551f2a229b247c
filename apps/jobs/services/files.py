"""Files of a job as chunk rows: written as they come, read as a stream, never whole in memory."""

import io
from collections.abc import Iterable, Iterator
from uuid import UUID

from django.db.models import Sum
from django.db.models.functions import Length

from apps.jobs.models import CHUNK_BYTES, ChunkPurpose, JobChunk


def upload_store(*, job_id: UUID, owner_id: UUID | None = None, blocks: Iterable[bytes]) -> int:
    """Store the blocks as the job's upload, and return their number of bytes. Belongs into the transaction of the row."""
    size = 0
    for number, block in enumerate(_rechunked(blocks)):
        JobChunk.objects.create(
            job_id=job_id, owner_id=owner_id, purpose=ChunkPurpose.UPLOAD, number=number, data=block
        )
        size += len(block)
    return size


def result_append(*, job_id: UUID, owner_id: UUID | None = None, data: bytes) -> None:
    """Add bytes to the job's result file. Belongs into a fenced transaction, so that what a lost claim wrote is undone."""
    if not data:
        return
    last = (
        JobChunk.objects.filter(job_id=job_id, purpose=ChunkPurpose.RESULT)
        .order_by("-number")
        .values_list("number", flat=True)
        .first()
    )
    number = 0 if last is None else last + 1
    for offset, start in enumerate(range(0, len(data), CHUNK_BYTES)):
        JobChunk.objects.create(
            job_id=job_id,
            owner_id=owner_id,
            purpose=ChunkPurpose.RESULT,
            number=number + offset,
            data=data[start : start + CHUNK_BYTES],
        )


def chunks_delete(*, job_id: UUID, purpose: ChunkPurpose) -> None:
    """Forget one of the job's files."""
    JobChunk.objects.filter(job_id=job_id, purpose=purpose).delete()


def files_delete(*, job_ids: Iterable[UUID]) -> None:
    """Forget all files of jobs that were cancelled: nobody goes on with the upload, nor reads what there is of a result."""
    JobChunk.objects.filter(job_id__in=job_ids).delete()


def chunks_size(*, job_id: UUID, purpose: ChunkPurpose) -> int:
    """Give the file's number of bytes, which PostgreSQL knows without reading them."""
    chunks = JobChunk.objects.filter(job_id=job_id, purpose=purpose)
    return chunks.aggregate(size=Sum(Length("data")))["size"] or 0


def chunks_read(*, job_id: UUID, purpose: ChunkPurpose) -> Iterator[bytes]:
    """Give the file block by block, one short query each: a slow reader holds no cursor and no transaction."""
    rows = JobChunk.objects.filter(job_id=job_id, purpose=purpose).order_by("number")
    number = -1
    while True:
        row = rows.filter(number__gt=number).values_list("number", "data").first()
        if row is None:
            return
        number, data = row
        yield bytes(data)


class ChunkStream(io.RawIOBase):
    """A job's file as a readable binary stream; wrap it in ``io.BufferedReader``."""

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
    """Give the same bytes in blocks of CHUNK_BYTES, the last one shorter."""
    held = bytearray()
    for block in blocks:
        held += block
        while len(held) >= CHUNK_BYTES:
            yield bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]
    if held:
        yield bytes(held)
