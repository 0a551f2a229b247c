"""How many bytes jobs may keep: uploads and results, of one owner and of all.

Counted by the lengths of the chunks, which PostgreSQL knows without reading them. An owner's are counted each time, exactly
where the owner's lock is held; those of all at most once in TOTAL_SECONDS a process.
"""

from threading import Condition
from uuid import UUID

from cachetools import TTLCache, cached
from django.conf import settings
from django.db.models import Sum
from django.db.models.functions import Length

from apps.jobs.models import JobChunk
from apps.practices.errors import TooManyRequests, Unavailable

TOTAL_SECONDS = 10.0


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


@cached(TTLCache(maxsize=1, ttl=TOTAL_SECONDS), condition=Condition())
def files_total() -> int:
    """Return how many bytes the files of all jobs take, as of at most TOTAL_SECONDS ago."""
    return JobChunk.objects.aggregate(size=Sum(Length("data")))["size"] or 0
