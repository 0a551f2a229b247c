"""Downloads of result files. A slow reader holds a thread, so downloads may hold only some threads of a process."""

from collections import Counter
from collections.abc import Iterator
from threading import Lock
from uuid import UUID

from django.conf import settings

from apps.jobs.models import ChunkPurpose
from apps.jobs.services.files import chunks_read, chunks_size
from apps.practices.errors import Unavailable


class DownloadsBusy(Unavailable, type="downloads-busy", title="Too many downloads"):
    explanation = (
        "This account, or the service as a whole, has too many downloads in progress. Try again when one has finished."
    )
    retry_after = 5


class DownloadInterrupted(Exception):
    """The file was deleted during the download. The connection is closed early, so that the part sent does not look complete."""


_active: Counter[UUID] = Counter()  # downloads, by reader
_lock = Lock()


class Download:
    """The blocks of a result file of ``size`` bytes. Counts as active from its creation until ``close``.

    Raise ``DownloadsBusy`` (503) at more than JOBS_DOWNLOADS active in the process, or more than half of them for one reader.
    """

    def __init__(self, *, job_id: UUID, reader_id: UUID) -> None:
        self._job_id = job_id
        self._reader_id = reader_id
        self.size = chunks_size(job_id=job_id, purpose=ChunkPurpose.RESULT)
        limit = settings.JOBS_DOWNLOADS
        with _lock:
            if _active.total() >= limit or _active[reader_id] >= max(1, limit // 2):
                raise DownloadsBusy
            _active[reader_id] += 1
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        left = self.size
        for block in chunks_read(job_id=self._job_id, purpose=ChunkPurpose.RESULT):
            left -= len(block)
            yield block
        if left:
            raise DownloadInterrupted(f"{left} bytes of the result of job {self._job_id} are missing")

    def close(self) -> None:
        """End the download. The server calls this when the response is sent or the client disconnects."""
        with _lock:
            if self._is_open:
                _active[self._reader_id] -= 1
                if not _active[self._reader_id]:
                    del _active[self._reader_id]
            self._is_open = False
