"""What a worker holds: its claims, renewed while the processes that do the jobs live, and given back."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from apps.jobs.models import Job, JobState, JobStop
from apps.jobs.services.claims import Claim, ClaimLost, job_release, lease


@dataclass(frozen=True, kw_only=True)
class ActiveClaim:
    """A claim of a worker: the process that computes, what, for how many seconds by the database's clock, what it is asked."""

    claim: Claim
    runner: str
    kind: str
    seconds: float
    stop: str


def claims_active(*, worker: str) -> list[ActiveClaim]:
    """Return the claims of a worker."""
    rows = Job.objects.filter(state=JobState.RUNNING, worker=worker).values_list(
        "pk",
        "fence",
        "runner",
        "kind",
        "stop",
        ExpressionWrapper(Now() - F("started_at"), output_field=DurationField()),
    )
    return [
        ActiveClaim(
            claim=Claim(pk, fence),
            runner=runner,
            kind=kind,
            seconds=age.total_seconds() if age else 0.0,
            stop=stop,
        )
        for pk, fence, runner, kind, stop, age in rows
    ]


def claims_release_orphaned(*, worker: str, runner: str) -> None:
    """Give back what a process holds that does nothing: the answer to a claim was lost with its connection."""
    for held in claims_active(worker=worker):
        if held.runner == runner:
            claim_release(claim=held.claim)


def claims_renew(*, worker: str, claims: Sequence[Claim]) -> None:
    """Extend the leases of the claims whose processes live."""
    Job.objects.filter(state=JobState.RUNNING, worker=worker, pk__in=[claim.job_id for claim in claims]).update(
        leased_until=Now() + lease(), heartbeat_at=Now()
    )


def claims_count(*, worker: str) -> int:
    """Return how many jobs the worker is at."""
    return Job.objects.filter(state=JobState.RUNNING, worker=worker).count()


def claims_request_release(*, worker: str) -> int:
    """Ask every job of the worker to stop at its next checkpoint, and return how many there are."""
    running = Job.objects.filter(state=JobState.RUNNING, worker=worker)
    running.filter(stop=JobStop.NONE).update(stop=JobStop.RELEASE)
    return running.count()


def claim_release(*, claim: Claim) -> None:
    """Give back a claim whose process was ended by us; a claim that is no longer this one is left alone."""
    with suppress(ClaimLost):
        job_release(claim=claim)
