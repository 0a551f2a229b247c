"""Chaining: finish a job and claim the next one in one statement, so that a job costs one commit.

The chained claim takes no lock, and that is safe because of what it leaves to ``claims.job_claim``:

- Quarantined jobs. From before the statement until after it the worker runs a job, and beside a running job no quarantined
  job is claimed. It claims nothing after an isolated job, and nothing once a quarantined job is overdue.
- Jobs of other owners. If the next job belongs to another owner, it is not claimed. So no owner runs more jobs afterwards than
  before. (In the reserved queue, and for jobs of the service, there is no such limit.)
"""

from typing import Any

from django.db import connection, transaction

from apps.jobs.models import Job
from apps.jobs.services import statements
from apps.jobs.services.claims import Claim, Claimer, ClaimLost
from apps.practices.database.routing import pin_to_primary

_CONDITION = " ".join(
    (statements.HEALTHY, "AND EXISTS (SELECT FROM finished WHERE NOT isolated) AND NOT", statements.IS_OVERDUE)
)
_IF_FIRST = "WHERE owner_id IS NULL OR owner_id IS NOT DISTINCT FROM %(owner)s::uuid OR %(queue)s = %(reserved_queue)s"


def job_succeed(*, claim: Claim, result: Any, keep: bool = True, claimer: Claimer | None = None) -> Job | None:
    """Finish the job with its result and delete its upload; return the job that ``claimer`` claimed with it, if any.

    Without ``keep``, delete the job with its files instead. A job of a schedule is always kept: its row says that the due time
    is done. Raise ``ClaimLost``.
    """
    if not keep and not claim.rows().exclude(schedule="").exists():
        _job_delete(claim)
        return None
    stored = Job._meta.get_field("result").get_db_prep_save(result, connection)
    parameters = {"id": claim.job_id, "fence": claim.fence, "result": stored}
    next_claim = statements.NO_CLAIM
    if claimer:
        parameters |= claimer.parameters() | {"finishing": claim.job_id, "owner": claim.owner_id}
        next_claim = statements.claim(_CONDITION, if_first=_IF_FIRST)
    for job in Job.objects.raw(statements.succeed(next_claim), parameters):
        pin_to_primary(claim.owner_id)
        return job if job.pk else None
    raise ClaimLost


def _job_delete(claim: Claim) -> None:
    with transaction.atomic():
        job = claim.rows().select_for_update().first()
        if job is None:
            raise ClaimLost
        job.delete()
