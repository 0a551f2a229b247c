"""The one Celery task: claim the job it names, run its kind's function, record how it ended."""

import os
import time
import traceback
from collections.abc import Callable
from typing import Any

import structlog
from celery import Task, shared_task
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from apps.jobs.context import JobContext, JobStopped
from apps.jobs.kinds import Kind, kind_named
from apps.jobs.limits import memory_bound, needs_replacement
from apps.jobs.metrics import attempt_observe, claim_observe
from apps.jobs.models import Job, JobStop
from apps.jobs.processes import is_stopping, runner_identity, unreserved_limit, worker_identity
from apps.jobs.services import chaining, claims, completion, failures, leases
from apps.jobs.services.broker import TASK
from apps.jobs.services.isolation import WorkerIsolated
from apps.jobs.services.relay import message_missed, queue_wake
from apps.practices.errors import PermissionDenied, Problem, ValidationProblem

EX_TEMPFAIL = 75  # sysexits.h
REPORT_TRIES = 120  # some ten minutes
LONGEST_PAUSE = 5  # seconds between two of them
RESERVED_SECONDS = 0.5  # between two looks of a process that stands by
MESSAGE_SECONDS = 0.5  # for so long one message's process goes on to the next job: other queues have messages, too

GoesOn = Callable[[], claims.Claimer | None]  # who may claim the next job, now
Ending = Callable[[], tuple[str, Job | None]]  # records an end, gives its name and the next job
logger = structlog.get_logger(__name__)


class UnknownKind(Exception):
    """The code that would do this job is not installed here: not any more, or, while a release rolls out, not yet."""


class JobTask(Task):
    """A task whose messages are acknowledged in our way."""

    Request = "apps.jobs.worker:JobRequest"


@shared_task(name=TASK, base=JobTask, bind=True, ignore_result=True)
def job_run(task: Task, job_id: str) -> None:
    """Do the job whose turn it is in the queue that the message came from; a message too many does nothing.

    A message wakes somebody up. There are as many as jobs, so the one it names (for who reads the broker) has its turn, too.
    """
    main, until = os.getppid(), time.monotonic() + MESSAGE_SECONDS
    claimer = claims.Claimer(
        queue=_queue(task, job_id),
        worker=worker_identity(),
        runner=runner_identity(),
        unreserved_limit=unreserved_limit(),
    )

    def goes_on() -> claims.Claimer | None:
        """The claimer, as long as this process may go on with another job for the same message."""
        may = time.monotonic() < until and not is_stopping() and os.getppid() == main and not needs_replacement()
        return claimer if may else None

    job = _claimed(claimer, named=job_id)
    has_worked = job is not None
    while job is not None:
        bound = {"job_id": str(job.pk), "kind": job.kind}
        if job.request_id:
            bound["request_id"] = job.request_id
        with structlog.contextvars.bound_contextvars(**bound):
            job = _attempt(job, goes_on)
    if has_worked and claimer.queue != settings.JOBS_RESERVED_QUEUE and not is_stopping():
        _others_wake(claimer.queue)


def _others_wake(queue: str) -> None:
    """Have another message sent for the queue, in place of those that came in vain.

    A worker had to keep a process free, or the owner of the jobs that waited ran as many as they may.
    """
    try:
        queue_wake(queue=queue)
    except (OperationalError, InterfaceError):
        connection.close()  # the relay will see


def _queue(task: Task, job_id: str) -> str:
    """The queue that the message came from; of a call without a message, the named job's."""
    delivered = (task.request.delivery_info or {}).get("routing_key")
    if delivered:
        return str(delivered)
    named = Job.objects.filter(pk=job_id).values_list("queue", flat=True)
    return str(named.first() or settings.CELERY_TASK_DEFAULT_QUEUE)


def _claimed(claimer: claims.Claimer, *, named: str) -> Job | None:
    """Claim a job, and stand by while this worker is reserved for a suspect: nothing else is to be done by then.

    A worker that is being stopped claims nothing: its message goes to another, by the relay.
    """
    main = os.getppid()
    kept = connection.connection is not None  # since an earlier job: PostgreSQL may have been restarted meanwhile
    while not is_stopping():
        try:
            if not kept:
                leases.claims_release_orphaned(worker=claimer.worker, runner=claimer.runner)
            return claims.job_claim(claimer=claimer)
        except WorkerIsolated:
            time.sleep(RESERVED_SECONDS)
        except (OperationalError, InterfaceError):
            connection.close()
            if not kept:
                raise
            kept = False
        if os.getppid() != main:
            os._exit(EX_TEMPFAIL)  # the main process is dead, so nobody would renew a lease
    message_missed(job_id=named)
    return None


def _attempt(job: Job, goes_on: GoesOn) -> Job | None:
    """Run the function and report its end, and give the job to go on with; an end that cannot be reported ends the process.

    The worker's main process renews the lease of a living process, so one that is done but cannot say so must die: then the
    main process, or the reaper, sees the job as abandoned. While PostgreSQL is away nobody else can take the job, so the
    process that has the result goes on trying. A result that cannot be stored is an attempt that went wrong.
    """
    started = time.monotonic()
    logger.info("job_started", attempt=job.attempts)
    claim_observe(job)
    context = JobContext(job)
    report = _ending(context, goes_on)
    following: Job | None = None
    tried, unstorable = 0, False
    while True:
        try:
            outcome, following = report()
        except claims.ClaimLost:
            if tried:  # an earlier try may have ended it, and claimed another
                report, tried = _forgotten(job), 0
                continue
            outcome = "lost"
        except (OperationalError, InterfaceError):
            connection.close()
            tried += 1
            logger.warning("job_end_not_recorded", tried=tried, exc_info=True)
            if tried == REPORT_TRIES:
                os._exit(EX_TEMPFAIL)
            time.sleep(min(tried, LONGEST_PAUSE))
            continue
        except Exception as error:
            logger.exception("job_end_not_storable")
            if unstorable:
                os._exit(EX_TEMPFAIL)
            unstorable, report = True, _failure(context.claim, error)
            continue
        seconds = time.monotonic() - started
        logger.info("job_ended", outcome=outcome, seconds=round(seconds, 3))
        attempt_observe(job, outcome=outcome, seconds=seconds)
        return following


def _ending(context: JobContext, goes_on: GoesOn) -> Ending:
    """Run the kind's function, and give the write that records how it ended."""
    job, claim = context.job, context.claim
    try:
        result = _function_call(context)
    except JobStopped as stopped:
        if stopped.reason == JobStop.CANCEL:
            return lambda: _recorded("cancelled", completion.job_stop, claim=claim)
        return lambda: _recorded("released", completion.job_release, claim=claim)
    except claims.ClaimLost:
        return lambda: ("lost", None)
    except Problem as problem:
        refused = problem
        return lambda: _recorded("refused", completion.job_discard, claim=claim, problem=refused)
    except Exception as error:
        logger.warning("job_attempt_failed", attempt=job.attempts, error=type(error).__name__, exc_info=True)
        return _failure(claim, error)
    kind = kind_named(job.kind)
    keep = kind is None or kind.keep
    return lambda: ("succeeded", chaining.job_succeed(claim=claim, result=result, keep=keep, claimer=goes_on()))


def _failure(claim: claims.Claim, error: Exception) -> Ending:
    """Give the write that records an attempt which went wrong."""
    text = "".join(traceback.format_exception(error)).replace("\0", "")
    return lambda: _recorded("failed", failures.job_fail, claim=claim, error=text)


def _forgotten(job: Job) -> Ending:
    """Give the write that gives back what this process has claimed and was not told of."""
    return lambda: _recorded("lost", leases.claims_release_orphaned, worker=job.worker, runner=job.runner)


def _recorded(outcome: str, write: Callable[..., None], **arguments: Any) -> tuple[str, None]:
    write(**arguments)
    return outcome, None


def _function_call(context: JobContext) -> Any:
    """Call the function as the owner, whose rights are read again here: hours may have passed since the submission."""
    kind = kind_named(context.job.kind)
    if kind is None:
        raise UnknownKind(context.job.kind)
    if context.owner is not None and not context.owner.is_active:
        raise PermissionDenied("The account that submitted the job is no longer active.")
    if context.owner is not None and not kind.permits(context.owner):
        raise PermissionDenied("The account that submitted the job may no longer do so.")
    parameters = _parameters(kind, context.job)
    with memory_bound(kind.memory_mib):
        return kind.function(context, **parameters)


def _parameters(kind: Kind, job: Job) -> dict[str, Any]:
    """The stored parameters as the serializer's Python values."""
    serializer = kind.serializer(data=job.parameters)
    if not serializer.is_valid():
        raise ValidationProblem("The parameters of the job are no longer accepted.")
    return dict(serializer.validated_data)
