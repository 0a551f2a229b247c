"""A worker's heartbeat and its active claims, which are renewed while their processes live and released when it stops."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from apps.jobs.models import Job, JobState, JobStop, JobWorker
from apps.jobs.services.claims import Claim, ClaimLost, lease_length
from apps.jobs.services.outcomes import job_release

WORKER_KEPT = timedelta(days=1)  # how long the row of a killed worker stays


@dataclass(frozen=True, kw_only=True)
class ActiveClaim:
    """A claim of a worker's process. ``seconds``: its age by the database's clock; ``stop``: what the job is asked to do."""

    claim: Claim
    runner: str
    kind: str
    seconds: float
    stop: str


def claims_active(*, worker: str) -> list[ActiveClaim]:
    age = ExpressionWrapper(Now() - F("started_at"), output_field=DurationField())
    rows = Job.objects.filter(state=JobState.RUNNING, worker=worker).values_list(
        "pk", "fence", "runner", "kind", "stop", age
    )
    return [
        ActiveClaim(
            claim=Claim(pk, fence), runner=runner, kind=kind, seconds=age.total_seconds() if age else 0.0, stop=stop
        )
        for pk, fence, runner, kind, stop, age in rows
    ]


def claims_release_orphaned(*, worker: str, runner: str) -> None:
    """Release the claims of a process that is idle: it never received the result of its claim."""
    for active in claims_active(worker=worker):
        if active.runner == runner:
            claim_release(claim=active.claim)


def claims_renew(*, worker: str, claims: Sequence[Claim]) -> None:
    Job.objects.filter(state=JobState.RUNNING, worker=worker, pk__in=[claim.job_id for claim in claims]).update(
        leased_until=Now() + lease_length(), heartbeat_at=Now()
    )


def claims_count(*, worker: str) -> int:
    return Job.objects.filter(state=JobState.RUNNING, worker=worker).count()


def claims_request_release(*, worker: str) -> int:
    """Ask every job of the worker to stop at its next checkpoint; return how many jobs it runs."""
    running = Job.objects.filter(state=JobState.RUNNING, worker=worker)
    running.filter(stop=JobStop.NONE).update(stop=JobStop.RELEASE)
    return running.count()


def claim_release(*, claim: Claim) -> None:
    """Release a claim whose process was stopped. Do nothing if the claim is lost."""
    with suppress(ClaimLost):
        job_release(claim=claim)


def worker_heartbeat(*, name: str, queues: Sequence[str]) -> None:
    """Record that a worker runs and consumes these queues. The first heartbeat also deletes rows of workers killed long ago."""
    if not JobWorker.objects.filter(pk=name).update(seen_at=Now(), queues=list(queues)):
        JobWorker.objects.create(name=name, queues=list(queues))
        JobWorker.objects.filter(seen_at__lt=Now() - WORKER_KEPT).delete()


def worker_delete(*, name: str) -> None:
    JobWorker.objects.filter(pk=name).delete()
