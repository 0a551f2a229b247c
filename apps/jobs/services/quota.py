"""Quotas on the files that jobs keep, uploads and results: per owner, and in total.

Sizes are the lengths of the chunks, which PostgreSQL knows without reading them. An owner's are counted each time, exactly if
the owner is locked; the total at most once in TOTAL_SECONDS per process.
"""

from threading import Condition
from uuid import UUID

from cachetools import TTLCache, cached
from django.conf import settings

from apps.jobs.services.files import chunks_size
from apps.practices.errors import TooManyRequests, Unavailable

TOTAL_SECONDS = 10.0


class FilesQuotaExceeded(TooManyRequests, type="files-quota", title="File quota exceeded"):
    """One owner's jobs keep JOBS_FILES_PER_USER bytes."""

    explanation = (
        "The uploads and result files of this account's jobs use up its quota. Cancel jobs that have not finished, whose files "
        "are deleted at once, or wait some days until files of finished jobs are deleted. Then try again."
    )
    retry_after = 3600


class StorageFull(Unavailable, type="storage-full", title="File storage full"):
    """All jobs keep JOBS_FILES_TOTAL bytes."""

    explanation = (
        "The service has no space left for uploads and result files. Old files are deleted every day. Try again later."
    )
    retry_after = 3600


def quota_check(*, owner_id: UUID | None, size: int) -> None:
    """Raise ``FilesQuotaExceeded`` or ``StorageFull`` unless ``size`` more bytes fit. Without an owner only the total counts."""
    if owner_id is not None and chunks_size(owner_id=owner_id) + size > settings.JOBS_FILES_PER_USER:
        raise FilesQuotaExceeded(
            f"The files of this account's jobs may take {settings.JOBS_FILES_PER_USER} bytes. Cancel jobs that have not "
            "finished, or try again when files of finished jobs have been deleted."
        )
    if files_total() + size > settings.JOBS_FILES_TOTAL:
        raise StorageFull


@cached(TTLCache(maxsize=1, ttl=TOTAL_SECONDS), condition=Condition())
def files_total() -> int:
    """Return how many bytes the files of all jobs take, as of at most TOTAL_SECONDS ago."""
    return chunks_size()
