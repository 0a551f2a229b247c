"""An owner's actions on jobs: submit, cancel, retry."""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, cast
from uuid import UUID

import structlog
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.files import File
from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models.functions import Now

from apps.jobs.kinds import kind_named
from apps.jobs.models import UNFINISHED, WAITING, Job, JobState, JobStop
from apps.jobs.services.broker import publish
from apps.jobs.services.fairness import owner_lock, start_tag_next
from apps.jobs.services.files import files_delete, upload_store
from apps.jobs.services.quota import quota_check
from apps.practices.errors import Conflict, NotFound, PermissionDenied, TooManyRequests
from apps.practices.mechanisms.ids import current_request_id
from apps.practices.mechanisms.traces import current_trace

logger = structlog.get_logger(__name__)

# A job that is retried runs now, as if it had not been tried before; its checkpoint remains.
RETRIED = {"attempts": 0, "stop": JobStop.NONE, "run_at": Now(), "finished_at": None, "problem": None, "error": ""}


class JobNotDiscarded(Conflict, type="job-not-discarded", title="The job was not discarded"):
    explanation = "Only a discarded job can be retried. This job is waiting, running, succeeded or cancelled."


class TooManyJobs(TooManyRequests, type="too-many-jobs", title="Too many jobs"):
    """The owner has JOBS_PER_USER unfinished jobs."""

    explanation = (
        "This account has reached its limit of waiting and running jobs. Wait for some to finish, or cancel some."
    )
    retry_after = 10


def job_submit(
    *,
    kind: str,
    owner: AbstractBaseUser | AnonymousUser | None,
    parameters: Mapping[str, Any],
    upload: File | None = None,
    run_at: datetime | None = None,
) -> Job:
    """Store the job with its upload in one transaction, and wake a worker after the commit.

    If the kind is ``unique`` and an equal job of the owner has not started yet, return that job instead.

    Raise ``PermissionDenied`` if the owner lacks the kind's permission, ``TooManyJobs`` (429) if they already have JOBS_PER_USER
    unfinished jobs, ``FilesQuotaExceeded`` (429) or ``StorageFull`` (503) if there is no room for files, DRF's
    ``ValidationError`` if the kind's serializer rejects the parameters, ``LookupError`` for an unknown kind. Jobs without an
    owner belong to the service and have no limits. If the broker is down, the relay sends the message later. With ``run_at``
    (aware), the job does not start before that time.
    """
    found = kind_named(kind)
    if found is None:
        raise LookupError(f"Unknown job kind {kind!r}.")
    if owner is not None and not found.permits(owner):
        raise PermissionDenied
    serializer = found.serializer(data=dict(parameters))
    serializer.is_valid(raise_exception=True)
    owner_id, trace = cast("UUID | None", owner and owner.pk), current_trace()
    job = Job(
        kind=kind,
        queue=found.queue,
        owner_id=owner_id,
        parameters=json.loads(json.dumps(serializer.validated_data, cls=DjangoJSONEncoder)),
        request_id=current_request_id() or "",
        traceparent=trace.traceparent if trace else "",
        # Set before the message is sent, which saves a write for each job; _wake resets it on failure.
        sent_at=None if run_at else Now(),
    )
    if run_at:
        job.state, job.run_at = JobState.SCHEDULED, run_at
    with transaction.atomic():
        if upload is not None:
            if owner_id is not None:
                _require_room(owner_id)  # without the lock, which an upload must not block
            quota_check(owner_id=owner_id, size=upload.size or 0)
            upload_store(job_id=job.id, owner_id=owner_id, blocks=upload.chunks())
        if owner_id is not None:
            owner_lock(owner_id)
            if found.unique and upload is None and run_at is None and (queued := _equal_queued(job)):
                logger.info("job_submitted_again", job_id=str(queued.pk), kind=kind)
                return queued
            _require_room(owner_id)
            quota_check(owner_id=owner_id, size=0 if upload else 1)
        if not run_at:
            job.start_tag = start_tag_next(queue=found.queue, kind=kind, owner_id=owner_id)
        job.save(force_insert=True)
        # After the commit, so that a rolled-back job is not logged; before the worker is woken, so that its lines follow.
        transaction.on_commit(partial(logger.info, "job_submitted", job_id=str(job.id), kind=kind), robust=True)
        if not run_at:
            transaction.on_commit(lambda: _wake(job))
    return job


def job_cancel(*, job_id: UUID, owner_id: UUID) -> Job:
    """Cancel the job: at once if it waits, at its next checkpoint if it runs. Raise ``NotFound`` if the owner has no such job."""
    with transaction.atomic():
        job = _locked(job_id=job_id, owner_id=owner_id)
        if job.state in WAITING:
            Job.objects.filter(pk=job.pk).update(state=JobState.CANCELLED, finished_at=Now())
            files_delete(job_ids=[job.pk])
        elif job.state == JobState.RUNNING:
            Job.objects.filter(pk=job.pk).update(stop=JobStop.CANCEL)
        job.refresh_from_db()  # while it is locked: later it may be gone
    return job


def job_retry(*, job_id: UUID, owner_id: UUID) -> Job:
    """Queue a discarded job again with all its attempts; it continues at its last checkpoint.

    Raise ``NotFound`` if the owner has no such job, ``JobNotDiscarded`` (409), or ``TooManyJobs`` (429).
    """
    with transaction.atomic():
        owner_lock(owner_id)
        job = _locked(job_id=job_id, owner_id=owner_id)
        if job.state != JobState.DISCARDED:
            raise JobNotDiscarded
        _require_room(owner_id)
        Job.objects.filter(pk=job.pk).update(
            state=JobState.QUEUED,
            start_tag=start_tag_next(queue=job.queue, kind=job.kind, owner_id=job.owner_id),
            sent_at=Now(),
            **RETRIED,
        )
        job.refresh_from_db()
        transaction.on_commit(lambda: _wake(job))
    return job


def _equal_queued(job: Job) -> Job | None:
    """Return the owner's queued job with the same kind and parameters, locked so that it starts after the caller's transaction.

    A job that is being claimed is passed over, and so is one that was tried before: it may hold data from that attempt.
    """
    equal = Job.objects.filter(owner_id=job.owner_id, kind=job.kind, parameters=job.parameters)
    queued = equal.filter(state=JobState.QUEUED, attempts=0, checkpoint__isnull=True)
    return queued.select_for_update(skip_locked=True).order_by("start_tag", "id").first()


def _require_room(owner_id: UUID) -> None:
    """Raise ``TooManyJobs`` if the owner may not have another unfinished job."""
    limit = settings.JOBS_PER_USER
    if Job.objects.filter(owner_id=owner_id, state__in=UNFINISHED)[:limit].count() >= limit:
        raise TooManyJobs(f"This account already has {limit} waiting or running jobs, the maximum.")


def _locked(*, job_id: UUID, owner_id: UUID) -> Job:
    job = Job.objects.select_for_update().filter(pk=job_id, owner_id=owner_id).first()
    if job is None:
        raise NotFound
    return job


def _wake(job: Job) -> None:
    """Publish the job's message, or leave it to the relay if the broker does not take it.

    If PostgreSQL is down by now, that is no error either: the job is stored, and the relay treats its message as lost.
    """
    if publish(job_id=job.id, queue=job.queue):
        return
    try:
        Job.objects.filter(pk=job.pk, state=JobState.QUEUED).update(sent_at=None)
    except DatabaseError as error:
        logger.warning("job_not_marked_unsent", job_id=str(job.id), error=type(error).__name__)
