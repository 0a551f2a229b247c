"""A claim: who may work on a job, until when, and how it ends. Every statement is a compare-and-set on the row.

A claim is (job, fence). The fence moves with every claim, so the writes of a worker that lost its lease match no row: that
is Kleppmann's fencing token, checked by the store itself. Leases are by the database's clock.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import DurationField, ExpressionWrapper, F, Min, QuerySet
from django.db.models.functions import Now

from apps.jobs.models import Job, JobState, JobStop
from apps.jobs.services.files import files_delete
from apps.jobs.services.sharing import LATER
from apps.practices.database.routing import user_wrote
from apps.practices.errors import Problem
from apps.practices.errors.responses import problem_members

SUSPECT_PATIENCE = timedelta(seconds=30)  # then a worker takes no other jobs until it is idle


class ClaimLost(Exception):
    """The job is not this claim's any more: it was reclaimed, cancelled or deleted. Nothing of it may be written."""


@dataclass(frozen=True)
class Claim:
    """The right to work on a job; worthless as soon as the row's fence has moved on."""

    job_id: UUID
    fence: int
    owner_id: object = None

    def rows(self) -> QuerySet[Job]:
        """The job's row as long as it is this claim's."""
        return Job.objects.filter(pk=self.job_id, fence=self.fence, state=JobState.RUNNING)


@dataclass(frozen=True, kw_only=True)
class Held:
    """A claim of a worker: the process that computes, what, and for how many seconds by the database's clock."""

    claim: Claim
    runner: str
    kind: str
    seconds: float


def lease() -> timedelta:
    """How long a claim holds without being renewed."""
    return timedelta(seconds=settings.JOBS_LEASE_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Taker:
    """Who claims: a process (``runner``) of a worker, from a queue.

    ``most``: how many jobs of other queues than JOBS_RESERVED_QUEUE the worker may run; None: any number.
    """

    queue: str
    worker: str
    runner: str
    most: int | None = None

    def values(self) -> dict[str, Any]:
        """The parameters of the statements below."""
        reserved = settings.JOBS_RESERVED_QUEUE
        return {**self.__dict__, "lease": lease(), "patience": SUSPECT_PATIENCE, "later": LATER, "reserved": reserved}


class WorkerReserved(Exception):
    """Nothing can be claimed by this worker for the moment: a suspect runs alone, or waits for the others to end."""


def job_claim(*, queue: str, worker: str, runner: str, most: int | None = None) -> Job | None:
    """Take the queued job of a queue whose turn it is; None when none is due, or when ``most`` (`Taker`) run already.

    Several callers get different ones.

    A suspect is taken when the worker runs nothing else, and nothing is taken while one runs: what kills the worker then is
    the suspect. So it costs the others their time, and goes last, or first once it has waited for long. Raises WorkerReserved.
    """
    values = Taker(queue=queue, worker=worker, runner=runner, most=most).values()
    with connection.cursor() as cursor:
        cursor.execute(_IS_ONE_DUE, values)
        if not cursor.fetchone()[0]:
            return None  # what a message too many finds: cheaply
    with transaction.atomic():
        for which in _takeable(values):
            for job in Job.objects.raw("".join((_TAKE, _DUE, which, _FIRST)), values):
                return job
    return None


# Claims are what a worker does most: as few statements as it takes, as short as SQL makes them.
_DUE = """
    SELECT id FROM jobs_job WHERE state = 'queued' AND queue = %(queue)s AND turn < %(later)s
        AND run_at <= statement_timestamp()
"""
_IS_ONE_DUE = f"SELECT EXISTS ({_DUE})"
_IMPATIENT = "AND suspect AND run_at <= statement_timestamp() - %(patience)s"
_IS_IMPATIENT = f"EXISTS ({_DUE}{_IMPATIENT})"
_BESIDE = " ".join(
    (
        "SELECT count(*), count(*) FILTER (WHERE queue <> %(reserved)s), coalesce(bool_or(is_alone), false),",
        _IS_IMPATIENT,
        "FROM jobs_job WHERE state = 'running' AND worker = %(worker)s",
    )
)
_TAKE = """
UPDATE jobs_job SET state = 'running', fence = fence + 1, attempts = attempts + 1, is_alone = suspect, stop = '',
    worker = %(worker)s, runner = %(runner)s, leased_until = statement_timestamp() + %(lease)s,
    heartbeat_at = statement_timestamp(), started_at = statement_timestamp()
WHERE id = ("""
_FIRST = " ORDER BY turn, id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING *"

# A job's end and its process's next claim: one statement, hence one commit. Nothing is claimed by it once the claim is lost,
# when a suspect has waited for long, or after one: that is `job_claim`'s. It needs no lock, since it leaves suspects alone,
# and from before it until after it the worker runs a job, beside which no suspect is taken.
_SUCCEED = """
WITH ended AS (
    UPDATE jobs_job SET state = 'succeeded', finished_at = statement_timestamp(), leased_until = NULL, stop = '',
        suspect = false, result = %(result)s
    WHERE id = %(id)s AND fence = %(fence)s AND state = 'running' RETURNING id, is_alone
), upload AS (
    DELETE FROM jobs_jobchunk USING ended WHERE job_id = ended.id AND purpose = 'upload'
), next AS (
"""
_NOTHING = "SELECT * FROM jobs_job WHERE false"
_CALM = " ".join(("AND NOT suspect AND EXISTS (SELECT FROM ended WHERE NOT is_alone) AND NOT", _IS_IMPATIENT))
_NEXT = ") SELECT next.* FROM ended LEFT JOIN next ON true"


def _takeable(values: dict[str, Any]) -> list[str]:
    """Say which jobs this worker may take, the first first. Its own claims come one after the other (an advisory lock)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%(worker)s, 0))", values)
        cursor.execute(_BESIDE, values)
        beside, unreserved, is_reserved, is_impatient = cursor.fetchone()
    if is_reserved:
        raise WorkerReserved
    most, reserved = values["most"], values["reserved"]
    if most is not None and values["queue"] != reserved and unreserved >= most:
        return []
    if not beside:
        return [_IMPATIENT, "AND NOT suspect", ""] if is_impatient else ["AND NOT suspect", ""]
    if is_impatient and values["worker"] == _clearing(values["queue"]):
        raise WorkerReserved
    return ["AND NOT suspect"]


def _clearing(queue: str) -> str | None:
    """The one worker of a queue that ends its jobs and takes no more when a suspect has waited for too long: the others go on."""
    running = Job.objects.filter(state=JobState.RUNNING, queue=queue, leased_until__gt=Now())
    return running.aggregate(first=Min("worker"))["first"]


@contextmanager
def fenced(claim: Claim) -> Iterator[dict[str, Any]]:
    """Run effects in one transaction that commits only if the job is still this claim's.

    What is put into the yielded mapping (``checkpoint``, ``progress_done`` …) is written to the row with them. The row is
    locked by the last statement only, so that heartbeats and a cancellation pass while a batch is at work.
    """
    with transaction.atomic():
        columns: dict[str, Any] = {}
        yield columns
        if not claim.rows().update(**columns, fence=claim.fence):
            raise ClaimLost
        user_wrote(claim.owner_id)


def claim_lock(claim: Claim) -> str | None:
    """Lock the job in the caller's transaction, and give what it is asked to do; None when the claim is lost.

    For who deletes files: they go after their job's row is locked, whoever deletes them, so that no two wait for each other.
    """
    return claim.rows().select_for_update().values_list("stop", flat=True).first()


def job_progress(*, claim: Claim, columns: Mapping[str, Any]) -> str:
    """Write progress and give what the job is asked to do (a ``JobStop``), or raise ``ClaimLost``."""
    if columns and not claim.rows().update(**columns):
        raise ClaimLost
    stop = claim.rows().values_list("stop", flat=True).first()
    if stop is None:
        raise ClaimLost
    return stop


def job_succeed(*, claim: Claim, result: Any, keep: bool = True, then: Taker | None = None) -> Job | None:
    """End the job well: its result becomes visible, its upload goes; without ``keep`` the job goes with all its files.

    One that stands for a schedule's due time stays even so: it says that this time is done. Gives the job that ``then`` has
    claimed by it, if any.
    """
    if not keep and not claim.rows().exclude(schedule="").exists():
        _job_forget(claim)
        return None
    stored = Job._meta.get_field("result").get_db_prep_save(result, connection)
    values = {"id": claim.job_id, "fence": claim.fence, "result": stored, **(then.values() if then else {})}
    following = "".join((_TAKE, _DUE, _CALM, _FIRST)) if then else _NOTHING
    for job in Job.objects.raw("".join((_SUCCEED, following, _NEXT)), values):
        user_wrote(claim.owner_id)
        return job if job.pk else None
    raise ClaimLost


def _job_forget(claim: Claim) -> None:
    with transaction.atomic():
        job = claim.rows().select_for_update().first()
        if job is None:
            raise ClaimLost
        job.delete()


def job_refuse(*, claim: Claim, problem: Problem) -> None:
    """End the job with a problem that another attempt would meet again."""
    with fenced(claim) as columns:
        columns.update(ended(JobState.FAILED), problem=document(claim.job_id, problem))


def job_cancelled(*, claim: Claim) -> None:
    """End the job as its owner asked."""
    with fenced(claim) as columns:
        claim_lock(claim)
        columns.update(ended(JobState.CANCELLED))
        files_delete(job_ids=[claim.job_id])


def job_release(*, claim: Claim) -> None:
    """Give the job and the attempt back: the worker stops, which is no fault of the job. One that is to be cancelled, is."""
    with fenced(claim) as columns:
        if claim_lock(claim) == JobStop.CANCEL:
            columns.update(ended(JobState.CANCELLED))
            files_delete(job_ids=[claim.job_id])
        else:
            columns.update(requeued(), attempts=F("attempts") - 1)


def claims_held(*, worker: str, stop: JobStop | None = None) -> list[Held]:
    """Return the claims of a worker; with ``stop`` those that were asked for it."""
    asked = {} if stop is None else {"stop": stop}
    rows = Job.objects.filter(state=JobState.RUNNING, worker=worker, **asked).values_list(
        "pk", "fence", "runner", "kind", ExpressionWrapper(Now() - F("started_at"), output_field=DurationField())
    )
    return [
        Held(claim=Claim(pk, fence), runner=runner, kind=kind, seconds=age.total_seconds() if age else 0.0)
        for pk, fence, runner, kind, age in rows
    ]


def claims_forgotten_return(*, worker: str, runner: str) -> None:
    """Give back what a process holds that does nothing: the answer to a claim was lost with its connection."""
    for held in claims_held(worker=worker):
        if held.runner == runner:
            claim_return(claim=held.claim)


def claims_renew(*, worker: str, claims: Sequence[Claim]) -> None:
    """Extend the leases of the claims whose processes live."""
    Job.objects.filter(state=JobState.RUNNING, worker=worker, pk__in=[claim.job_id for claim in claims]).update(
        leased_until=Now() + lease(), heartbeat_at=Now()
    )


def claims_count(*, worker: str) -> int:
    """How many jobs the worker is at."""
    return Job.objects.filter(state=JobState.RUNNING, worker=worker).count()


def claims_request_release(*, worker: str) -> int:
    """Ask every job of the worker to stop at its next checkpoint, and say how many there are."""
    running = Job.objects.filter(state=JobState.RUNNING, worker=worker)
    running.filter(stop=JobStop.NONE).update(stop=JobStop.RELEASE)
    return running.count()


def claim_return(*, claim: Claim) -> None:
    """Give back a claim whose process was ended by us; a claim that is no longer this one is left alone."""
    with suppress(ClaimLost):
        job_release(claim=claim)


def ended(state: JobState) -> dict[str, Any]:
    """Give the columns of a job that has ended so."""
    return {"state": state, "finished_at": Now(), "leased_until": None, "stop": JobStop.NONE}


def requeued() -> dict[str, Any]:
    """Queued and unsent, so that the next tick of any relay sends it."""
    return {
        "state": JobState.QUEUED,
        "leased_until": None,
        "stop": JobStop.NONE,
        "sent_at": None,
        "run_at": Now(),
    }


def document(job_id: UUID, problem: Problem) -> dict[str, Any]:
    """The problem as the owner will read it with the job; there is no request that it answers."""
    return problem_members(problem, instance=f"/api/v1/jobs/{job_id}")
