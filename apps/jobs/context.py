"""What a kind's function gets: its owner, its upload, and the checkpoints at which it can be stopped."""

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
from apps.jobs.services.quota import room_require

REPORT_SECONDS = 0.5  # between two writes of progress: a cancellation bites within this, and a tight loop costs nothing

logger = structlog.get_logger(__name__)


class JobStopped(Exception):
    """The job was asked to stop and has reached a checkpoint; ``reason`` is cancel or release."""

    def __init__(self, reason: str) -> None:
        self.reason = JobStop(reason)
        super().__init__(reason)


class JobTimedOut(Exception):
    """The attempt has taken longer than its kind may, and has reached a checkpoint."""


class Step:
    """One batch of effects: what is said here is stored in the transaction that stores the effects."""

    def __init__(self, job: Job, columns: dict[str, Any]) -> None:
        self._job = job
        self._columns = columns

    def save(self, *, checkpoint: Any, done: int, total: int | None = None) -> None:
        """Store where the next attempt goes on (JSON-able), and how far the job is.

        A job that gets somewhere is not the one that never will: where the checkpoint moves, its attempts are counted anew.
        What ``progress`` said before no longer holds.
        """
        self._columns.update(checkpoint=checkpoint, progress_done=done, progress_total=total, progress_message="")
        if checkpoint is not None and json.loads(json.dumps(checkpoint)) != self._job.checkpoint:
            self._columns.update(attempts=1)

    def append_result(self, data: bytes) -> None:
        """Add bytes to the result file; raise ``FilesQuota`` or ``StorageFull``, which end the job, where there is no room."""
        if data:
            room_require(owner_id=self._job.owner_id, size=len(data))
        result_append(job_id=self._job.pk, owner_id=self._job.owner_id, data=data)


class JobContext:
    """One claim of a job, seen by the function that does it.

    A function calls ``progress`` often, in a loop; each call is a checkpoint at which the job may be stopped
    (``JobStopped`` is raised, which a function lets pass). Effects on the database belong into ``step()``. At a checkpoint
    later than the kind's ``seconds``, ``JobTimedOut`` ends the attempt.
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
        """Whose job it is; None for the service's own."""
        return self.job.owner

    @property
    def checkpoint(self) -> Any:
        """What the last committed step saved; None at the first attempt."""
        return self.job.checkpoint

    def upload(self) -> io.BufferedReader:
        """Open the upload from its beginning."""
        return io.BufferedReader(ChunkStream(job_id=self.job.pk, purpose=ChunkPurpose.UPLOAD), CHUNK_BYTES)

    def progress(self, *, done: int, total: int | None = None, message: str = "") -> None:
        """Say how far the job is, at most every REPORT_SECONDS, and stop here if that was asked for.

        PostgreSQL being away is no reason to give up what was computed: the job goes on, and its next step will see.
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
        """Run a batch of effects in one transaction, which is undone if the job is no longer this claim's.

        A checkpoint too: before the batch, a job that was asked to stop does.
        """
        self._require_time()
        self._stop_if_asked(job_progress(claim=self.claim, columns={}))
        with fenced(self.claim) as columns:
            yield Step(self.job, columns)
        self.job.checkpoint = columns.get("checkpoint", self.job.checkpoint)

    def result_file(self, *, name: str, content_type: str) -> None:
        """Declare the result file, empty unless an earlier attempt left a checkpoint to go on from."""
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
