"""A claim: who may work on a job, until when, and how it ends. Every statement is a compare-and-set on the row.

A claim is (job, fence). The fence moves with every claim, so the writes of a worker that lost its lease match no row: that
is Kleppmann's fencing token, checked by the store itself. Leases are by the database's clock.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Min, QuerySet
from django.db.models.functions import Now

from apps.jobs.models import Job, JobState, JobStop
from apps.jobs.services.fairness import LATER
from apps.jobs.services.files import files_delete
from apps.practices.database.routing import pin_to_primary
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


def lease() -> timedelta:
    """How long a claim holds without being renewed."""
    return timedelta(seconds=settings.JOBS_LEASE_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Claimer:
    """Who claims: a process (``runner``) of a worker, from a queue.

    ``most``: how many jobs of other queues than JOBS_RESERVED_QUEUE the worker may run; None: any number.
    """

    queue: str
    worker: str
    runner: str
    most: int | None = None

    def values(self) -> dict[str, Any]:
        """The parameters of the statements below."""
        return {
            **self.__dict__,
            "lease": lease(),
            "patience": SUSPECT_PATIENCE,
            "later": LATER,
            "reserved": settings.JOBS_RESERVED_QUEUE,
            "share": settings.JOBS_RUNNING_PER_USER,
            "ending": None,
        }


class WorkerIsolated(Exception):
    """Nothing can be claimed by this worker for the moment: a suspect runs alone, or waits for the others to end."""


def job_claim(*, queue: str, worker: str, runner: str, most: int | None = None) -> Job | None:
    """Take the queued job of a queue whose turn it is; None when none is due, or when ``most`` (`Claimer`) run already.

    Several callers get different ones. The jobs of an owner who runs JOBS_RUNNING_PER_USER are passed over, save those in
    JOBS_RESERVED_QUEUE.

    A suspect is taken when the worker runs nothing else, and nothing is taken while one runs: what kills the worker then is
    the suspect. So it costs the others their time, and goes last, or first once it has waited for long. Raises WorkerIsolated.
    """
    values = Claimer(queue=queue, worker=worker, runner=runner, most=most).values()
    with connection.cursor() as cursor:
        cursor.execute(_IS_ONE_DUE, values)
        if not cursor.fetchone()[0]:
            return None  # what a message too many finds: cheaply
    with transaction.atomic():
        for which in _takeable(values):
            for job in Job.objects.raw("".join((_TAKE, _DUE, which, _FIRST, _TAKEN)), values):
                if not _is_beyond_share(job):
                    return job
                transaction.set_rollback(True)
                return None  # whoever ends one of the owner's jobs sends another message
    return None


def _is_beyond_share(job: Job) -> bool:
    """Say whether the owner runs one job too many with this one, which the caller's transaction has claimed.

    Two workers may each claim a job of one owner without seeing the other's. The second to come here waits for the first to
    commit, and then counts both.
    """
    if job.owner_id is None or job.queue == settings.JOBS_RESERVED_QUEUE:
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"claims of {job.owner_id}"])
    running = Job.objects.filter(state=JobState.RUNNING, owner=job.owner_id).exclude(queue=settings.JOBS_RESERVED_QUEUE)
    return running.count() > settings.JOBS_RUNNING_PER_USER


# Claims are what a worker does most: as few statements as it takes, as short as SQL makes them.
# An owner's share counts without the job that the same statement ends.
_DUE = """
    SELECT id, owner_id FROM jobs_job WHERE state = 'queued' AND queue = %(queue)s AND turn < %(later)s
        AND run_at <= statement_timestamp()
        AND (owner_id IS NULL OR queue = %(reserved)s OR owner_id NOT IN (
            SELECT owner_id FROM jobs_job WHERE state = 'running' AND owner_id IS NOT NULL AND queue <> %(reserved)s
                AND id IS DISTINCT FROM %(ending)s::uuid GROUP BY owner_id HAVING count(*) >= %(share)s))
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
WHERE id = (SELECT id FROM ("""
_FIRST = " ORDER BY turn, id LIMIT 1 FOR UPDATE SKIP LOCKED) AS first"
_TAKEN = ") RETURNING *"

# A job's end and its process's next claim: one statement, hence one commit. Nothing is claimed by it once the claim is lost,
# when a suspect has waited for long, or after one: that is `job_claim`'s. It needs no lock, since it leaves suspects alone,
# from before it until after it the worker runs a job, beside which no suspect is taken, and of no owner more jobs run after
# it than before: another owner's turn is `job_claim`'s, too.
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
_OWN = " WHERE owner_id IS NULL OR owner_id IS NOT DISTINCT FROM %(owner)s::uuid OR %(queue)s = %(reserved)s"
_NEXT = ") SELECT next.* FROM ended LEFT JOIN next ON true"


def _takeable(values: dict[str, Any]) -> list[str]:
    """Say which jobs this worker may take, the first first. Its own claims come one after the other (an advisory lock)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%(worker)s, 0))", values)
        cursor.execute(_BESIDE, values)
        beside, unreserved, is_reserved, is_impatient = cursor.fetchone()
    if is_reserved:
        raise WorkerIsolated
    most, reserved = values["most"], values["reserved"]
    if most is not None and values["queue"] != reserved and unreserved >= most:
        return []
    if not beside:
        return [_IMPATIENT, "AND NOT suspect", ""] if is_impatient else ["AND NOT suspect", ""]
    if is_impatient and values["worker"] == _clearing(values["queue"]):
        raise WorkerIsolated
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
        pin_to_primary(claim.owner_id)


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


def job_succeed(*, claim: Claim, result: Any, keep: bool = True, then: Claimer | None = None) -> Job | None:
    """End the job well: its result becomes visible, its upload goes; without ``keep`` the job goes with all its files.

    One that stands for a schedule's due time stays even so: it says that this time is done. Gives the job that ``then`` has
    claimed by it, if any.
    """
    if not keep and not claim.rows().exclude(schedule="").exists():
        _job_forget(claim)
        return None
    stored = Job._meta.get_field("result").get_db_prep_save(result, connection)
    values = {"id": claim.job_id, "fence": claim.fence, "result": stored}
    following = _NOTHING
    if then:
        values |= then.values() | {"ending": claim.job_id, "owner": claim.owner_id}
        following = "".join((_TAKE, _DUE, _CALM, _FIRST, _OWN, _TAKEN))
    for job in Job.objects.raw("".join((_SUCCEED, following, _NEXT)), values):
        pin_to_primary(claim.owner_id)
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
