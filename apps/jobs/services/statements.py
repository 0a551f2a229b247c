"""The SQL of claims. ``claims``, ``isolation`` and ``chaining`` decide which statement runs.

Claiming is what a worker does most often, so each claim is one short statement. Its parameters are ``Claimer.parameters()``.
"""

# Queued jobs of the queue unless it is paused, without those of owners who already run JOBS_RUNNING_PER_USER jobs. The job that
# the same statement finishes (chaining) does not count.
_CLAIMABLE = """
SELECT id, owner_id FROM jobs_job
WHERE state = 'queued' AND queue = %(queue)s
    AND NOT EXISTS (SELECT FROM jobs_queuepause WHERE queue = %(queue)s)
    AND (owner_id IS NULL OR queue = %(reserved_queue)s OR owner_id NOT IN (
        SELECT owner_id FROM jobs_job
        WHERE state = 'running' AND owner_id IS NOT NULL AND queue <> %(reserved_queue)s
            AND id IS DISTINCT FROM %(finishing)s::uuid
        GROUP BY owner_id HAVING count(*) >= %(running_per_user)s))
"""

# Which of them: conditions that are added to _CLAIMABLE.
ANY = ""
HEALTHY = "AND NOT quarantined"
OVERDUE = "AND quarantined AND run_at <= statement_timestamp() - %(patience)s"  # quarantined, and waiting for too long

IS_ANY_CLAIMABLE = " ".join(("SELECT EXISTS (", _CLAIMABLE, ")"))
IS_OVERDUE = " ".join(("EXISTS (", _CLAIMABLE, OVERDUE, ")"))

# What the worker runs: all jobs, those outside the reserved queue, whether one is isolated, whether one is overdue.
WORKER_LOAD = " ".join(
    (
        "SELECT count(*), count(*) FILTER (WHERE queue <> %(reserved_queue)s), coalesce(bool_or(isolated), false),",
        IS_OVERDUE,
        "FROM jobs_job WHERE state = 'running' AND worker = %(worker)s",
    )
)


def claim(condition: str, *, if_first: str = "") -> str:
    """Return the statement that claims the claimable job with the lowest start tag and returns its row.

    With ``if_first``, another condition, claim nothing when that job does not meet it. Rows that others have locked are skipped.
    """
    return " ".join(
        (
            "UPDATE jobs_job SET state = 'running', fence = fence + 1, attempts = attempts + 1, isolated = quarantined,",
            "stop = '', worker = %(worker)s, runner = %(runner)s, started_at = statement_timestamp(),",
            "heartbeat_at = statement_timestamp(), leased_until = statement_timestamp() + %(lease)s",
            "WHERE id = (SELECT id FROM (",
            _CLAIMABLE,
            condition,
            "ORDER BY start_tag, id LIMIT 1 FOR UPDATE SKIP LOCKED) AS first",
            if_first,
            ") RETURNING *",
        )
    )


NO_CLAIM = "SELECT * FROM jobs_job WHERE false"
_SUCCEED = """
WITH finished AS (
    UPDATE jobs_job SET state = 'succeeded', finished_at = statement_timestamp(), leased_until = NULL, stop = '',
        quarantined = false, result = %(result)s
    WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
    RETURNING id, isolated
), upload AS (
    DELETE FROM jobs_jobchunk USING finished WHERE job_id = finished.id AND purpose = 'upload'
), next AS (
"""


def succeed(next_claim: str) -> str:
    """Return the statement that finishes a job and claims the next: no row if the claim is lost, else the next job or NULLs."""
    return " ".join((_SUCCEED, next_claim, ") SELECT next.* FROM finished LEFT JOIN next ON true"))
