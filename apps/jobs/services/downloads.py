"""Result files on their way out. Whoever reads slowly holds a thread, so only some threads of a process may be held so."""

from collections import Counter
from collections.abc import Iterator
from threading import Lock
from uuid import UUID

from django.conf import settings

from apps.jobs.models import ChunkPurpose
from apps.jobs.services.files import chunks_read, chunks_size
from apps.practices.errors import Unavailable


class DownloadsBusy(Unavailable):
    """As many results are being read as one process, or one reader in it, may send at a time."""

    status = 503
    type = "downloads-busy"
    title = "Too many downloads at once"
    explanation = (
        "As many results are being downloaded as the service sends at a time, or as one account may. Try again."
    )
    retry_after = 5


class DownloadCut(Exception):
    """The file was deleted while it was read. The connection is cut, since what was sent must not pass for all of it."""


_sending: Counter[UUID] = Counter()
_lock = Lock()


class Download:
    """A result file of ``size`` bytes, block by block, which has its place from when it is made until it is closed.

    Raises ``DownloadsBusy`` (503) when JOBS_DOWNLOADS of the process are taken, or more than half of them by this reader.
    """

    def __init__(self, *, job_id: UUID, reader_id: UUID) -> None:
        self._reader = reader_id
        self._job = job_id
        self.size = chunks_size(job_id=job_id, purpose=ChunkPurpose.RESULT)
        most = settings.JOBS_DOWNLOADS
        with _lock:
            if _sending.total() >= most or _sending[reader_id] >= max(1, most // 2):
                raise DownloadsBusy
            _sending[reader_id] += 1
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        left = self.size
        for block in chunks_read(job_id=self._job, purpose=ChunkPurpose.RESULT):
            left -= len(block)
            yield block
        if left:
            raise DownloadCut(f"{left} bytes of the result of {self._job} are gone")

    def close(self) -> None:
        """Give the place back; the server calls it when the answer is sent or its reader is gone."""
        with _lock:
            if self._is_open:
                _sending[self._reader] -= 1
                if not _sending[self._reader]:
                    del _sending[self._reader]
            self._is_open = False
