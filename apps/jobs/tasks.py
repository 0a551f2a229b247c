"""The one Celery task: claim the job it names, run its kind's function, record how it ended."""

import os
import time
import traceback
from collections.abc import Callable
from typing import Any

import structlog
from celery import shared_task
from django.db import DatabaseError, connection

from apps.jobs.context import JobContext, JobStopped
from apps.jobs.kinds import Kind, kind_named
from apps.jobs.models import Job, JobStop
from apps.jobs.processes import runner_identity, worker_identity
from apps.jobs.services import claims, crashes
from apps.jobs.services.broker import TASK
from apps.practices.errors import PermissionDenied, Problem, Unprocessable, ValidationProblem

EX_TEMPFAIL = 75  # sysexits.h
REPORT_TRIES = 5
RESERVED_SECONDS = 0.2  # between two looks of a process that stands by
logger = structlog.get_logger(__name__)


class UnknownKind(Unprocessable):
    """The code that would do this job is not installed here."""

    status = 422
    type = "job-kind-unknown"
    title = "Unknown kind of job"
    explanation = "The service no longer knows how to do jobs of this kind."


@shared_task(name=TASK, ignore_result=True)
def job_run(job_id: str, queue: str = "default") -> None:
    """Do the job whose turn it is in the queue; a message too many does nothing.

    A message wakes somebody up. There are as many as jobs, so the one it names (for who reads the broker) has its turn, too.
    """
    job = _claimed(queue=queue)
    if job is None:
        return
    bound = {"job_id": str(job.pk), "kind": job.kind}
    if job.request_id:
        bound["request_id"] = job.request_id
    with structlog.contextvars.bound_contextvars(**bound):
        _attempt(job)


def _claimed(*, queue: str) -> Job | None:
    """Claim a job, and wait while this worker is reserved for a suspect: nothing else is to be done by then."""
    worker, runner = worker_identity(), runner_identity()
    while True:
        try:
            return claims.job_claim(queue=queue, worker=worker, runner=runner)
        except claims.WorkerReserved:
            time.sleep(RESERVED_SECONDS)


def _attempt(job: Job) -> None:
    """Run the function and report its end; an end that cannot be reported ends the process.

    The worker's main process renews the lease of a living process, so one that is done but cannot say so must die: then the
    main process, or the reaper, sees the job as abandoned.
    """
    started = time.monotonic()
    logger.info("job_started", attempt=job.attempts)
    context = JobContext(job)
    report = _ending(context)
    for attempt in range(1, REPORT_TRIES + 1):
        try:
            outcome = report()
        except claims.ClaimLost:
            outcome = "lost"
        except DatabaseError:
            connection.close()
            logger.warning("job_end_not_recorded", tried=attempt, exc_info=True)
            time.sleep(attempt)
            continue
        logger.info("job_ended", outcome=outcome, seconds=round(time.monotonic() - started, 3))
        return
    os._exit(EX_TEMPFAIL)


def _ending(context: JobContext) -> Callable[[], str]:
    """Run the kind's function, and give the write that records how it ended."""
    job, claim = context.job, context.claim
    try:
        result = _function_call(context)
    except JobStopped as stopped:
        if stopped.reason == JobStop.CANCEL:
            return lambda: _recorded("cancelled", claims.job_cancelled, claim=claim)
        return lambda: _recorded("released", claims.job_release, claim=claim)
    except claims.ClaimLost:
        return lambda: "lost"
    except Problem as problem:
        refused = problem
        return lambda: _recorded("refused", claims.job_refuse, claim=claim, problem=refused)
    except Exception as error:
        logger.warning("job_attempt_failed", attempt=job.attempts, error=type(error).__name__, exc_info=True)
        text = "".join(traceback.format_exception(error))
        return lambda: _recorded("failed", crashes.job_fail, claim=claim, error=text)
    kind = kind_named(job.kind)
    keep = kind is None or kind.keep
    return lambda: _recorded("succeeded", claims.job_succeed, claim=claim, result=result, keep=keep)


def _recorded(outcome: str, write: Callable[..., None], **arguments: Any) -> str:
    write(**arguments)
    return outcome


def _function_call(context: JobContext) -> Any:
    """Call the function as the owner, whose rights are read again here: hours may have passed since the submission."""
    kind = kind_named(context.job.kind)
    if kind is None:
        raise UnknownKind
    if context.owner is not None and not context.owner.is_active:
        raise PermissionDenied("The account that submitted the job is no longer active.")
    if context.owner is not None and not kind.permits(context.owner):
        raise PermissionDenied("The account that submitted the job may no longer do so.")
    return kind.function(context, **_parameters(kind, context.job))


def _parameters(kind: Kind, job: Job) -> dict[str, Any]:
    """The stored parameters as the serializer's Python values."""
    serializer = kind.serializer(data=job.parameters)
    if not serializer.is_valid():
        raise ValidationProblem("The parameters of the job are no longer accepted.")
    return dict(serializer.validated_data)
