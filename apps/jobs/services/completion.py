"""The ways in which a claim ends other than by success (``chaining``) or by an error (``failures``)."""

from typing import Any

from django.db.models import F
from django.db.models.functions import Now

from apps.jobs.models import JobState, JobStop
from apps.jobs.services.claims import Claim, claim_lock, fenced
from apps.jobs.services.files import files_delete
from apps.practices.errors import Problem
from apps.practices.errors.responses import problem_members


def job_discard(*, claim: Claim, problem: Problem) -> None:
    """Discard the job with a problem that every attempt would meet again."""
    with fenced(claim) as columns:
        columns.update(finished(JobState.DISCARDED), problem=problem_stored(problem))


def job_stop(*, claim: Claim) -> None:
    """Cancel the job, as its owner or an operator asked."""
    with fenced(claim) as columns:
        claim_lock(claim)
        columns.update(finished(JobState.CANCELLED))
        files_delete(job_ids=[claim.job_id])


def job_release(*, claim: Claim) -> None:
    """Return the job to the queue without counting the attempt, because its worker stops. Cancel it if that was asked for."""
    with fenced(claim) as columns:
        if claim_lock(claim) == JobStop.CANCEL:
            columns.update(finished(JobState.CANCELLED))
            files_delete(job_ids=[claim.job_id])
        else:
            columns.update(requeued(), attempts=F("attempts") - 1)


def finished(state: JobState) -> dict[str, Any]:
    """Return the columns of a job that ends in ``state``."""
    return {"state": state, "finished_at": Now(), "leased_until": None, "stop": JobStop.NONE}


def requeued() -> dict[str, Any]:
    """Return the columns of a job that can be claimed again; the next tick of any relay sends its message."""
    return {
        "state": JobState.QUEUED,
        "leased_until": None,
        "stop": JobStop.NONE,
        "sent_at": None,
        "run_at": Now(),
    }


def problem_stored(problem: Problem) -> dict[str, Any]:
    """Return the problem as it is stored with the job. ``serializers`` adds the job's address and the request's id."""
    members = problem_members(problem, instance="")
    del members["instance"]
    return members
