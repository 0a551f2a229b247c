"""Fair queueing between owners: start-time fair queueing (Goyal, Vin and Cheng, 1996) with jobs of equal size.

Every queued job has a start tag, and the lowest tag of a queue is claimed first. A new job's tag is one more than that of its
owner's last queued job, but not below the lowest in the queue, so an owner gains nothing by having been idle. One owner's
thousand jobs and another's single job alternate. Two index look-ups for each submission and one for each claim, however many
jobs wait.
"""

from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Count, QuerySet

from apps.jobs.models import Job, JobState

# SQL, because the ORM's two queries took 0.7 ms of the 2.4 ms of a submission. Quarantined jobs may wait for long, so the
# lowest tag of the queue is that of a healthy one.
_START_TAG = """
SELECT greatest(
    1 + coalesce((SELECT max(start_tag) FROM jobs_job WHERE state = 'queued' AND queue = %(queue)s AND {own}), 0),
    (SELECT min(start_tag) FROM jobs_job WHERE state = 'queued' AND queue = %(queue)s AND NOT quarantined))
"""


def owner_lock(owner_id: UUID) -> None:
    """Lock the owner's unfinished jobs against additions by other transactions. Take this lock before that of a job's row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"jobs of {owner_id}"])


def start_tag_next(*, queue: str, kind: str, owner_id: UUID | None) -> int:
    """Return the start tag of a job that joins the queue now. For the service's own jobs, each kind counts as an owner.

    Exact if the caller holds ``owner_lock``; the service's own jobs need none, as equal tags do no harm there.
    """
    own = "owner_id IS NULL AND kind = %(kind)s" if owner_id is None else "owner_id = %(owner)s"
    with connection.cursor() as cursor:
        cursor.execute(_START_TAG.format(own=own), {"queue": queue, "kind": kind, "owner": owner_id})
        start_tag: int = cursor.fetchone()[0]
    return start_tag


def owners_at_limit() -> QuerySet[Job, UUID]:
    """Return the owners who run JOBS_RUNNING_PER_USER jobs outside the reserved queue: no further job of theirs is claimed."""
    running = Job.objects.filter(state=JobState.RUNNING, owner__isnull=False)
    counted = running.exclude(queue=settings.JOBS_RESERVED_QUEUE).values("owner_id").annotate(running=Count("pk"))
    return counted.filter(running__gte=settings.JOBS_RUNNING_PER_USER).values_list("owner_id", flat=True)
