"""The only Celery task: claim a job, run its kind's function, and record the outcome."""

import os
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import structlog
from celery import Task, shared_task
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from apps.jobs.context import JobContext, JobStopped
from apps.jobs.kinds import JobKind, kind_named
from apps.jobs.limits import memory_bound, needs_replacement
from apps.jobs.metrics import attempt_observe, claim_observe
from apps.jobs.models import Job, JobStop
from apps.jobs.processes import is_stopping, runner_identity, unreserved_limit, worker_identity
from apps.jobs.services import chaining, claims, leases, outcomes
from apps.jobs.services.broker import TASK
from apps.jobs.services.isolation import WorkerIsolated
from apps.jobs.services.outcomes import attempts_exhausted
from apps.jobs.services.relay import message_missed, queue_wake
from apps.practices.errors import PermissionDenied, Problem, ValidationProblem
from apps.practices.observability.work import Monitor, Outcome, working

EX_TEMPFAIL = 75  # sysexits.h
REPORT_TRIES = 120  # about ten minutes
REPORT_PAUSE = 5  # seconds between two tries, at most
ISOLATED_SECONDS = 0.5  # between two tries to claim while the worker is isolated
CHAIN_SECONDS = 0.5  # how long one message keeps a process claiming: other queues have messages too

NextClaimer = Callable[[], claims.Claimer | None]  # who may claim the next job; None: nobody
Report = tuple[str, Callable[[], Job | None]]  # an outcome, and the write that records it and returns the next job
logger = structlog.get_logger(__name__)


class UnknownKind(Exception):
    """The code for this kind is not installed: it was removed, or the release that adds it is still rolling out."""


class JobTask(Task):
    """A task whose messages are acknowledged by ``worker.JobRequest``."""

    Request = "apps.jobs.worker:JobRequest"


@shared_task(name=TASK, base=JobTask, bind=True, ignore_result=True)
def job_run(task: Task, job_id: str) -> None:
    """Run the next job of the queue that the message came from, whichever that is. A surplus message does nothing."""
    main, until = os.getppid(), time.monotonic() + CHAIN_SECONDS
    claimer = claims.Claimer(
        queue=_queue(task, job_id),
        worker=worker_identity(),
        runner=runner_identity(),
        unreserved_limit=unreserved_limit(),
    )

    def next_claimer() -> claims.Claimer | None:
        """Return the claimer if this process may run another job for the same message."""
        may_go_on = time.monotonic() < until and not is_stopping() and os.getppid() == main and not needs_replacement()
        return claimer if may_go_on else None

    job = _claim(claimer, message_job_id=job_id)
    has_worked = job is not None
    while job is not None:
        with _working(job) as work:
            job = _attempt(job, next_claimer, work)
    if has_worked and claimer.queue != settings.JOBS_RESERVED_QUEUE and not is_stopping():
        _queue_wake(claimer.queue)


def _working(job: Job) -> AbstractContextManager[Outcome]:
    fields = {"job_id": str(job.pk), "kind": job.kind}
    if job.owner_id is not None:
        fields["user_id"] = str(job.owner_id)
    attributes = {
        "job.id": str(job.pk),
        "job.queue": job.queue,
        "job.attempt": job.attempts,
        "job.schedule": job.schedule,
    }
    monitor = None
    if job.schedule and settings.OBSERVABILITY_SENTRY_DSN:
        monitor = Monitor(name=job.schedule, entry=settings.JOBS_SCHEDULES.get(job.schedule, {}), run_id=job.pk.hex)
    return working(
        job.kind,
        request_id=job.request_id,
        traceparent=job.traceparent,
        fields=fields,
        attributes=attributes,
        monitor=monitor,
    )


def _queue_wake(queue: str) -> None:
    """Send a message for the queue, in place of those that could claim nothing because a limit was reached."""
    try:
        queue_wake(queue=queue)
    except (OperationalError, InterfaceError):
        connection.close()  # the relay sends it


def _queue(task: Task, job_id: str) -> str:
    """Return the queue that the message came from, or the job's own if the task was called without a message."""
    delivered = (task.request.delivery_info or {}).get("routing_key")
    if delivered:
        return str(delivered)
    queue = Job.objects.filter(pk=job_id).values_list("queue", flat=True).first()
    return str(queue or settings.CELERY_TASK_DEFAULT_QUEUE)


def _claim(claimer: claims.Claimer, *, message_job_id: str) -> Job | None:
    """Claim a job, waiting while the worker is isolated; None if it is stopping, for the relay sends the message again."""
    main = os.getppid()
    is_reused = connection.connection is not None  # by an earlier job: PostgreSQL may have restarted since
    while not is_stopping():
        try:
            if not is_reused:
                leases.claims_release_orphaned(worker=claimer.worker, runner=claimer.runner)
            return claims.job_claim(claimer=claimer)
        except WorkerIsolated:
            time.sleep(ISOLATED_SECONDS)
        except (OperationalError, InterfaceError):
            connection.close()
            if not is_reused:
                raise
            is_reused = False
        if os.getppid() != main:
            os._exit(EX_TEMPFAIL)  # the main process is dead: no one would renew the lease
    message_missed(job_id=message_job_id)
    return None


def _attempt(job: Job, next_claimer: NextClaimer, work: Outcome) -> Job | None:
    """Run the function and record the outcome; return the job that was claimed with it.

    The worker's main process renews the lease as long as this process lives. So if the outcome cannot be recorded, this process
    exits, and the job is reclaimed. If PostgreSQL is down, no one else can claim the job either, so this process keeps the
    result and tries again for about ten minutes. A result that cannot be stored counts as a failed attempt.
    """
    started = time.monotonic()
    logger.info("job_started", attempt=job.attempts)
    claim_observe(job)
    context = JobContext(job)
    outcome, record = _run(context, next_claimer)
    tries, is_unstorable = 0, False
    while True:
        try:
            next_job = record()
        except claims.ClaimLost:
            outcome, next_job = "lost", None
            if tries:  # an earlier try may have been committed, with a claim whose result this process never received
                record, tries = partial(leases.claims_release_orphaned, worker=job.worker, runner=job.runner), 0
                continue
        except (OperationalError, InterfaceError):
            connection.close()
            tries += 1
            logger.warning("job_end_not_recorded", tried=tries, exc_info=True)
            if tries == REPORT_TRIES:
                os._exit(EX_TEMPFAIL)
            time.sleep(min(tries, REPORT_PAUSE))
            continue
        except Exception as error:
            logger.exception("job_end_not_storable")
            if is_unstorable:
                os._exit(EX_TEMPFAIL)
            is_unstorable = True
            outcome, record = _failure(context.claim, error)
            continue
        seconds = time.monotonic() - started
        logger.info("job_ended", outcome=outcome, seconds=round(seconds, 3))
        attempt_observe(job, outcome=outcome, seconds=seconds)
        work.name, work.is_failure = outcome, outcome in ("failed", "discarded")
        work.is_final = outcome != "released" and (outcome != "failed" or attempts_exhausted(job))
        return next_job


def _run(context: JobContext, next_claimer: NextClaimer) -> Report:
    """Run the kind's function, and return the outcome with the write that records it."""
    job, claim = context.job, context.claim
    try:
        result = _function_call(context)
    except JobStopped as stopped:
        if stopped.reason == JobStop.CANCEL:
            return "cancelled", partial(outcomes.job_stop, claim=claim)
        return "released", partial(outcomes.job_release, claim=claim)
    except claims.ClaimLost:
        return "lost", lambda: None
    except Problem as problem:
        return "discarded", partial(outcomes.job_discard, claim=claim, problem=problem)
    except Exception as error:
        about = {"attempt": job.attempts, "error": type(error).__name__}
        if attempts_exhausted(job):
            logger.exception("job_attempt_failed", **about)  # sent as an error report
        else:
            logger.warning("job_attempt_failed", **about, exc_info=True)  # the cause may pass by itself
        return _failure(claim, error)
    kind = kind_named(job.kind)
    keep = kind is None or kind.keep
    return "succeeded", lambda: chaining.job_succeed(claim=claim, result=result, keep=keep, claimer=next_claimer())


def _failure(claim: claims.Claim, error: Exception) -> Report:
    text = "".join(traceback.format_exception(error)).replace("\0", "")
    return "failed", partial(outcomes.job_fail, claim=claim, error=text)


def _function_call(context: JobContext) -> Any:
    """Call the function for the owner. Their rights are checked again, as the submission may be hours old."""
    kind = kind_named(context.job.kind)
    if kind is None:
        raise UnknownKind(context.job.kind)
    if context.owner is not None and not context.owner.is_active:
        raise PermissionDenied("The account that submitted the job is no longer active.")
    if context.owner is not None and not kind.permits(context.owner):
        raise PermissionDenied("The account that submitted the job no longer has the permission.")
    parameters = _parameters(kind, context.job)
    with memory_bound(kind.memory_mib):
        return kind.function(context, **parameters)


def _parameters(kind: JobKind, job: Job) -> dict[str, Any]:
    """Return the stored parameters as the serializer's Python values."""
    serializer = kind.serializer(data=job.parameters)
    if not serializer.is_valid():
        raise ValidationProblem("The parameters of the job are no longer accepted.")
    return dict(serializer.validated_data)
