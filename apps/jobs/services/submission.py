"""What an owner does to a job: submit, cancel, try again."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast
from uuid import UUID

import structlog
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models.functions import Now

from apps.jobs.kinds import kind_named
from apps.jobs.models import ChunkPurpose, Job, JobState, JobStop
from apps.jobs.services.broker import publish
from apps.jobs.services.files import chunks_delete, upload_store
from apps.jobs.services.sharing import turn_next
from apps.practices.errors import Conflict, NotFound
from apps.practices.observability.ids import current_request_id

logger = structlog.get_logger(__name__)


class Upload(Protocol):
    """What an upload must do: Django's ``UploadedFile`` does."""

    def chunks(self) -> Iterable[bytes]: ...


class JobNotFailed(Conflict):
    """Only what has failed can be tried again."""

    status = 409
    type = "job-not-failed"
    title = "Nothing to try again"
    explanation = "Only a job that has failed can be retried. This one waits, runs, has succeeded or was cancelled."


def job_submit(
    *,
    kind: str,
    owner: AbstractBaseUser | AnonymousUser | None,
    parameters: Mapping[str, Any],
    upload: Upload | None = None,
    request_id: str | None = None,
) -> Job:
    """Store the job with its upload in one transaction, and wake a worker once that has committed.

    Raises DRF's ``ValidationError`` when the kind's serializer refuses the parameters, ``LookupError`` for an unknown kind.
    The broker being away is no error: the relay sends the job as soon as it is back.
    """
    found = kind_named(kind)
    if found is None:
        raise LookupError(f"No kind of job is called {kind}.")
    serializer = found.serializer(data=dict(parameters))
    serializer.is_valid(raise_exception=True)
    owner_id = cast("UUID | None", owner and owner.pk)
    with transaction.atomic():
        job = Job.objects.create(
            kind=kind,
            queue=found.queue,
            owner_id=owner_id,
            turn=turn_next(queue=found.queue, owner_id=owner_id),
            parameters=json.loads(json.dumps(serializer.validated_data, cls=DjangoJSONEncoder)),
            request_id=request_id or current_request_id() or "",
            sent_at=Now(),  # said before it is done, as that saves a write a job; _wake takes it back on failure
        )
        if upload is not None:
            upload_store(job_id=job.id, blocks=upload.chunks())
        transaction.on_commit(lambda: _wake(job))
    logger.info("job_submitted", job_id=str(job.id), kind=kind)
    return job


def job_cancel(*, job_id: UUID, owner_id: UUID) -> Job:
    """Cancel the job: at once when it waits, at its next checkpoint when it runs. An ended job stays as it ended.

    Raises ``NotFound`` when the owner has no such job.
    """
    with transaction.atomic():
        job = _locked(job_id=job_id, owner_id=owner_id)
        if job.state == JobState.QUEUED:
            Job.objects.filter(pk=job.pk).update(state=JobState.CANCELLED, finished_at=Now())
            chunks_delete(job_id=job.id, purpose=ChunkPurpose.UPLOAD)
        elif job.state == JobState.RUNNING:
            Job.objects.filter(pk=job.pk).update(stop=JobStop.CANCEL)
    job.refresh_from_db()
    return job


def job_retry(*, job_id: UUID, owner_id: UUID) -> Job:
    """Queue a failed job anew with all its attempts; it goes on at its last checkpoint.

    Raises ``NotFound`` when the owner has no such job, ``JobNotFailed`` (409) when there is nothing to try again.
    """
    with transaction.atomic():
        job = _locked(job_id=job_id, owner_id=owner_id)
        if job.state != JobState.FAILED:
            raise JobNotFailed
        Job.objects.filter(pk=job.pk).update(
            state=JobState.QUEUED,
            attempts=0,
            stop=JobStop.NONE,
            run_at=Now(),
            sent_at=Now(),
            finished_at=None,
            problem=None,
            error="",
        )
        transaction.on_commit(lambda: _wake(job))
    job.refresh_from_db()
    return job


def _locked(*, job_id: UUID, owner_id: UUID) -> Job:
    job = Job.objects.select_for_update().filter(pk=job_id, owner_id=owner_id).first()
    if job is None:
        raise NotFound
    return job


def _wake(job: Job) -> None:
    """Publish, and leave the job to the relay when the broker did not take it."""
    if not publish(job_id=job.id, queue=job.queue):
        Job.objects.filter(pk=job.pk, state=JobState.QUEUED).update(sent_at=None)
