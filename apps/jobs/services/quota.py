"""How many bytes jobs may keep: uploads and results, of one owner and of all.

Counted by the lengths of the chunks, which PostgreSQL knows without reading them. An owner's are counted each time, exactly
where the owner's lock is held; those of all at most once in TOTAL_SECONDS a process.
"""

import time
from uuid import UUID

from django.conf import settings
from django.db.models import Sum
from django.db.models.functions import Length

from apps.jobs.models import JobChunk
from apps.practices.errors import TooManyRequests, Unavailable

TOTAL_SECONDS = 10.0
_total = (float("-inf"), 0)


class FilesQuota(TooManyRequests):
    """One owner's jobs keep JOBS_FILES_PER_USER bytes."""

    status = 429
    type = "files-quota"
    title = "Too many bytes kept"
    explanation = (
        "The uploads and result files of this account's jobs take as much space as one account may have. They go some days "
        "after their jobs have ended, and at once when a job is cancelled. Try again then, or ask for less."
    )
    retry_after = 3600


class StorageFull(Unavailable):
    """All jobs keep JOBS_FILES_TOTAL bytes."""

    status = 503
    type = "storage-full"
    title = "No space for files"
    explanation = (
        "The uploads and result files of all jobs take as much space as the service gives them. Older ones go every day: try "
        "again later."
    )
    retry_after = 3600


def room_require(*, owner_id: UUID | None, size: int) -> None:
    """Raise ``FilesQuota`` or ``StorageFull`` where there is no room for ``size`` more bytes; of nobody's, the total counts."""
    if owner_id is not None and files_size(owner_id=owner_id) + size > settings.JOBS_FILES_PER_USER:
        raise FilesQuota(f"The account's jobs may keep {settings.JOBS_FILES_PER_USER} bytes of files.")
    if files_total() + size > settings.JOBS_FILES_TOTAL:
        raise StorageFull


def files_size(*, owner_id: UUID) -> int:
    """Return how many bytes an owner's jobs keep."""
    return JobChunk.objects.filter(owner_id=owner_id).aggregate(size=Sum(Length("data")))["size"] or 0


def files_total() -> int:
    """Return how many bytes all jobs kept when this process last looked."""
    global _total
    now = time.monotonic()
    if now - _total[0] > TOTAL_SECONDS:
        _total = (now, JobChunk.objects.aggregate(size=Sum(Length("data")))["size"] or 0)
    return _total[1]


def files_total_forget() -> None:
    """Look anew at the next question (tests)."""
    global _total
    _total = (float("-inf"), 0)
