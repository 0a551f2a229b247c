"""The context that a kind's function receives: the owner, the upload, and the checkpoints at which the job can stop."""

import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import structlog
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import InterfaceError, OperationalError, connection

from apps.jobs.kinds import kind_named
from apps.jobs.models import CHUNK_BYTES, ChunkPurpose, Job, JobStop
from apps.jobs.services.claims import Claim, claim_lock, fenced, job_progress
from apps.jobs.services.files import ChunkStream, chunks_delete, result_append
from apps.jobs.services.quota import quota_check

REPORT_SECONDS = 0.5  # between two writes of progress, and so the longest delay of a cancellation in a tight loop

logger = structlog.get_logger(__name__)


class JobStopped(Exception):
    """The job was asked to stop and has reached a checkpoint. ``reason`` is CANCEL or RELEASE."""

    def __init__(self, reason: str) -> None:
        self.reason = JobStop(reason)
        super().__init__(reason)


class JobTimedOut(Exception):
    """The attempt has run out of time and has reached a checkpoint."""


class Step:
    """A batch of effects. Checkpoint, progress and result are stored in the same transaction."""

    def __init__(self, job: Job, columns: dict[str, Any]) -> None:
        self._job = job
        self._columns = columns

    def save(self, *, checkpoint: Any, done: int, total: int | None = None) -> None:
        """Store where the next attempt continues (``checkpoint``, JSON-able) and how far the job is.

        Whenever the checkpoint changes, the count of attempts starts again: a job that makes progress is not discarded. The
        message of ``progress`` is cleared.
        """
        self._columns.update(checkpoint=checkpoint, progress_done=done, progress_total=total, progress_message="")
        if checkpoint is not None and json.loads(json.dumps(checkpoint)) != self._job.checkpoint:
            self._columns.update(attempts=1)

    def append_result(self, data: bytes) -> None:
        """Append bytes to the result file. Raise ``FilesQuotaExceeded`` or ``StorageFull`` if there is no room."""
        if data:
            quota_check(owner_id=self._job.owner_id, size=len(data))
        result_append(job_id=self._job.pk, owner_id=self._job.owner_id, data=data)


class JobContext:
    """One attempt at a job, as its function sees it.

    Call ``progress`` often, in a loop: each call is a checkpoint at which the job can stop. It then raises ``JobStopped``, or
    ``JobTimedOut`` after the kind's ``seconds``; let both pass. Effects on the database belong in ``step()``.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.claim = Claim(job.pk, job.fence, job.owner_id)
        self._reported_at = 0.0
        kind = kind_named(job.kind)
        self._seconds = kind.seconds if kind else float("inf")
        self._until = time.monotonic() + self._seconds

    @cached_property
    def owner(self) -> AbstractBaseUser | None:
        """Return the job's owner; None if the job belongs to the service."""
        return self.job.owner

    @property
    def checkpoint(self) -> Any:
        """Return the checkpoint that the last committed step saved, or None."""
        return self.job.checkpoint

    def upload(self) -> io.BufferedReader:
        return io.BufferedReader(ChunkStream(job_id=self.job.pk, purpose=ChunkPurpose.UPLOAD), CHUNK_BYTES)

    def progress(self, *, done: int, total: int | None = None, message: str = "") -> None:
        """Store how far the job is, at most every REPORT_SECONDS, and stop here if the job was asked to.

        If PostgreSQL is down, the job continues with what it has computed; its next step needs PostgreSQL again.
        """
        now = time.monotonic()
        if now - self._reported_at < REPORT_SECONDS:
            return
        self._reported_at = now
        self._require_time()
        columns = {"progress_done": done, "progress_total": total, "progress_message": message[:200]}
        try:
            stop = job_progress(claim=self.claim, columns=columns)
        except (OperationalError, InterfaceError):
            if connection.in_atomic_block:
                raise
            connection.close()
            logger.warning("job_progress_not_recorded", exc_info=True)
            return
        self._stop_if_asked(stop)

    @contextmanager
    def step(self) -> Iterator[Step]:
        """Run a batch of effects in one transaction, which is rolled back if the claim is lost.

        This is a checkpoint too: if the job was asked to stop, it stops before the batch.
        """
        self._require_time()
        self._stop_if_asked(job_progress(claim=self.claim, columns={}))
        with fenced(self.claim) as columns:
            yield Step(self.job, columns)
        self.job.checkpoint = columns.get("checkpoint", self.job.checkpoint)

    def result_file(self, *, name: str, content_type: str) -> None:
        """Declare the result file. It starts empty, unless an earlier attempt left a checkpoint."""
        with fenced(self.claim) as columns:
            columns.update(result_name=name, result_type=content_type)
            if self.job.checkpoint is None:
                claim_lock(self.claim)
                chunks_delete(job_id=self.job.pk, purpose=ChunkPurpose.RESULT)

    def _require_time(self) -> None:
        if time.monotonic() > self._until:
            raise JobTimedOut(f"The attempt took longer than {self._seconds:g} s.")

    @staticmethod
    def _stop_if_asked(stop: str) -> None:
        if stop != JobStop.NONE:
            raise JobStopped(stop)
