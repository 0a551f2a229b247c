"""What an owner does to a job: submit, cancel, try again."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Protocol, cast
from uuid import UUID

import structlog
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models.functions import Now

from apps.jobs.kinds import kind_named
from apps.jobs.models import Job, JobState, JobStop
from apps.jobs.services.broker import publish
from apps.jobs.services.fairness import LATER, owner_lock, start_tag_next
from apps.jobs.services.files import files_delete, upload_store
from apps.jobs.services.quota import room_require
from apps.practices.errors import Conflict, NotFound, PermissionDenied, TooManyRequests
from apps.practices.mechanisms.ids import current_request_id

logger = structlog.get_logger(__name__)


class Upload(Protocol):
    """What an upload must do: Django's ``UploadedFile`` does."""

    @property
    def size(self) -> int | None: ...

    def chunks(self) -> Iterable[bytes]: ...


class JobNotFailed(Conflict):
    """Only what has failed can be tried again."""

    status = 409
    type = "job-not-failed"
    title = "Nothing to try again"
    explanation = "Only a job that has failed can be retried. This one waits, runs, has succeeded or was cancelled."


class TooManyJobs(TooManyRequests):
    """One owner has JOBS_PER_USER jobs that wait or run."""

    status = 429
    type = "too-many-jobs"
    title = "Too many jobs at once"
    explanation = "As many jobs of the account wait or run as may. Wait until some have ended, or cancel them."
    retry_after = 10


def job_submit(
    *,
    kind: str,
    owner: AbstractBaseUser | AnonymousUser | None,
    parameters: Mapping[str, Any],
    upload: Upload | None = None,
    request_id: str | None = None,
    run_at: datetime | None = None,
) -> Job:
    """Store the job with its upload in one transaction, and wake a worker once that has committed.

    Of a ``unique`` kind an equal job of the owner that has not begun is returned instead: what it reads is no older.

    Raises ``PermissionDenied`` when the owner lacks the kind's permission, ``TooManyJobs`` (429) when JOBS_PER_USER of theirs
    wait or run, ``FilesQuota`` (429) or ``StorageFull`` (503) when there is no room for files, DRF's ``ValidationError`` when the
    kind's serializer refuses the parameters, ``LookupError`` for an unknown kind. Jobs of nobody are the service's own: any
    number, any kind. The broker being away is no error: the relay sends the job as soon as it is back. With ``run_at`` (aware)
    the job waits at least until then.
    """
    found = kind_named(kind)
    if found is None:
        raise LookupError(f"No kind of job is called {kind}.")
    if owner is not None and not found.permits(owner):
        raise PermissionDenied
    serializer = found.serializer(data=dict(parameters))
    serializer.is_valid(raise_exception=True)
    owner_id = cast("UUID | None", owner and owner.pk)
    job = Job(
        kind=kind,
        queue=found.queue,
        owner_id=owner_id,
        parameters=json.loads(json.dumps(serializer.validated_data, cls=DjangoJSONEncoder)),
        request_id=request_id or current_request_id() or "",
        # Said before it is done, as that saves a write a job; _wake takes it back on failure.
        sent_at=None if run_at else Now(),
    )
    if run_at:
        job.run_at = run_at
    with transaction.atomic():
        if upload is not None:
            if owner_id is not None:
                _require_room(owner_id)  # without the lock, which no upload is to hold up
            room_require(owner_id=owner_id, size=upload.size or 0)
            upload_store(job_id=job.id, owner_id=owner_id, blocks=upload.chunks())
        if owner_id is not None:
            owner_lock(owner_id)
            if found.unique and upload is None and run_at is None and (waiting := _waiting_equal(job)):
                logger.info("job_submitted_again", job_id=str(waiting.pk), kind=kind)
                return waiting
            _require_room(owner_id)
            room_require(owner_id=owner_id, size=0 if upload else 1)
        job.turn = LATER if run_at else start_tag_next(queue=found.queue, kind=kind, owner_id=owner_id)
        job.save(force_insert=True)
        # Of a job that was rolled back nothing is said. Before the worker is woken, whose own lines follow.
        transaction.on_commit(partial(logger.info, "job_submitted", job_id=str(job.id), kind=kind), robust=True)
        if not run_at:
            transaction.on_commit(lambda: _wake(job))
    return job


def job_cancel(*, job_id: UUID, owner_id: UUID) -> Job:
    """Cancel the job: at once when it waits, at its next checkpoint when it runs. An ended job stays as it ended.

    Raises ``NotFound`` when the owner has no such job.
    """
    with transaction.atomic():
        job = _locked(job_id=job_id, owner_id=owner_id)
        if job.state == JobState.QUEUED:
            Job.objects.filter(pk=job.pk).update(state=JobState.CANCELLED, finished_at=Now())
            files_delete(job_ids=[job.pk])
        elif job.state == JobState.RUNNING:
            Job.objects.filter(pk=job.pk).update(stop=JobStop.CANCEL)
        job.refresh_from_db()  # before the lock goes: afterwards it may have been removed
    return job


def job_retry(*, job_id: UUID, owner_id: UUID) -> Job:
    """Queue a failed job anew with all its attempts; it goes on at its last checkpoint.

    Raises ``NotFound`` when the owner has no such job, ``JobNotFailed`` (409) when there is nothing to try again,
    ``TooManyJobs`` (429) when as many wait or run as may.
    """
    with transaction.atomic():
        owner_lock(owner_id)
        job = _locked(job_id=job_id, owner_id=owner_id)
        if job.state != JobState.FAILED:
            raise JobNotFailed
        _require_room(owner_id)
        Job.objects.filter(pk=job.pk).update(
            state=JobState.QUEUED,
            turn=start_tag_next(queue=job.queue, kind=job.kind, owner_id=job.owner_id),
            attempts=0,
            stop=JobStop.NONE,
            run_at=Now(),
            sent_at=Now(),
            finished_at=None,
            problem=None,
            error="",
        )
        job.refresh_from_db()
        transaction.on_commit(lambda: _wake(job))
    return job


def _waiting_equal(job: Job) -> Job | None:
    """Return the owner's job that does the same and has not begun, locked: it begins after the caller's transaction.

    One that is being claimed is passed over. One that was tried before may hold what it read then.
    """
    equal = Job.objects.filter(owner_id=job.owner_id, kind=job.kind, parameters=job.parameters)
    waiting = equal.filter(state=JobState.QUEUED, attempts=0, checkpoint__isnull=True, run_at__lte=Now())
    return waiting.select_for_update(skip_locked=True).order_by("turn", "id").first()


def _require_room(owner_id: UUID) -> None:
    """Raise ``TooManyJobs`` when the owner has no room for another."""
    under_way = Job.objects.filter(owner_id=owner_id, state__in=(JobState.QUEUED, JobState.RUNNING))
    if under_way[: settings.JOBS_PER_USER].count() >= settings.JOBS_PER_USER:
        raise TooManyJobs(f"{settings.JOBS_PER_USER} jobs of the account wait or run, which is the most.")


def _locked(*, job_id: UUID, owner_id: UUID) -> Job:
    job = Job.objects.select_for_update().filter(pk=job_id, owner_id=owner_id).first()
    if job is None:
        raise NotFound
    return job


def _wake(job: Job) -> None:
    """Publish, and leave the job to the relay when the broker did not take it.

    PostgreSQL may be away by now, and is no error either: the job is accepted, and the relay takes its message for lost.
    """
    if publish(job_id=job.id, queue=job.queue):
        return
    try:
        Job.objects.filter(pk=job.pk, state=JobState.QUEUED).update(sent_at=None)
    except DatabaseError as error:
        logger.warning("job_sending_not_taken_back", job_id=str(job.id), error=type(error).__name__)
