"""Schedules: a job for each due time of each schedule, inserted by the first worker that sees it is due.

This needs no process that must run exactly once (Celery's beat): (schedule, scheduled_for) is unique, so any number of workers
may try. Due times that passed while no worker ran are inserted late.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog
from cronsim import CronSim, CronSimError
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from apps.jobs.kinds import JobKind, kind_named
from apps.jobs.models import Job
from apps.jobs.services.fairness import start_tag_next

LATE = timedelta(days=1)  # due times that passed longer ago are skipped
BATCH = 100  # due times of one schedule at a time, the latest ones
FIELDS = 5  # of a cron expression
MEMBERS = frozenset({"kind", "cron", "every", "parameters"})
logger = structlog.get_logger(__name__)


def schedules_insert() -> int:
    """Queue the jobs that schedules have due, and return their number."""
    schedules: Mapping[str, Mapping[str, Any]] = settings.JOBS_SCHEDULES
    if not schedules:
        return 0
    last = dict(
        Job.objects.filter(schedule__in=schedules)
        .order_by()
        .values_list("schedule")
        .annotate(last=Max("scheduled_for"))
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        now = cursor.fetchone()[0]
    return sum(_schedule_insert(name, entry, last.get(name), now) for name, entry in schedules.items())


def schedule_error(entry: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a schedule; None if it is valid."""
    if unknown := set(entry) - MEMBERS:
        return f"unknown entry {', '.join(sorted(unknown))}"
    kind = kind_named(str(entry.get("kind")))
    if kind is None:
        return f"unknown job kind {entry.get('kind')!r}"
    if ("cron" in entry) == ("every" in entry):
        return 'give either "cron" or "every"'
    try:
        if next(_times(entry, after=datetime(2026, 1, 1, tzinfo=UTC)), None) is None:
            return "it is never due"
    except (CronSimError, ValueError, TypeError) as error:
        return f"invalid time: {error}"
    serializer = kind.serializer(data=dict(entry.get("parameters", {})))
    return None if serializer.is_valid() else f"invalid parameters: {serializer.errors}"


def due_times(entry: Mapping[str, Any], *, last: datetime | None, now: datetime) -> list[datetime]:
    """Return the due times after ``last``, up to ``now``. For a new schedule (``last`` is None), return only the latest."""
    found: list[datetime] = []
    for time in _times(entry, after=now - LATE if last is None else max(last, now - LATE)):
        if time > now:
            break
        found.append(time)
    return found[-1:] if last is None else found[-BATCH:]


def _times(entry: Mapping[str, Any], *, after: datetime) -> Iterator[datetime]:
    """Yield every due time after a time, without end. Raise ``CronSimError`` or ``ValueError`` for an invalid schedule.

    If both a day of month and a weekday are given, a day that matches either is due (POSIX crontab). CronSim 2.8 follows Debian's
    cron: if one of the two fields begins with ``*``, such as ``*/2``, a day must match both.
    """
    if "every" in entry:
        every = int(entry["every"])
        if every < 1:
            raise ValueError('"every" must be at least 1 second')
        second = int(after.timestamp()) // every * every
        while True:
            second += every
            yield datetime.fromtimestamp(second, tz=UTC)
    expression = str(entry["cron"])
    if len(expression.split()) != FIELDS:  # CronSim would read a sixth field as seconds
        raise ValueError(f'"cron" needs {FIELDS} fields: minute, hour, day of month, month, weekday')
    yield from CronSim(expression, after.astimezone(UTC))


def _schedule_insert(name: str, entry: Mapping[str, Any], last: datetime | None, now: datetime) -> int:
    kind = kind_named(str(entry["kind"]))
    if kind is None:
        logger.error("job_schedule_unknown", schedule=name, kind=entry["kind"])
        return 0
    times = due_times(entry, last=last, now=now)
    return _rows_insert(name, kind, dict(entry.get("parameters", {})), times) if times else 0


def _rows_insert(name: str, kind: JobKind, parameters: dict[str, Any], times: list[datetime]) -> int:
    with transaction.atomic():
        first = start_tag_next(queue=kind.queue, kind=kind.name, owner_id=None)
        rows = [
            Job(
                kind=kind.name,
                queue=kind.queue,
                parameters=parameters,
                schedule=name,
                scheduled_for=time,
                start_tag=first + number,
            )
            for number, time in enumerate(times)
        ]
        Job.objects.bulk_create(rows, ignore_conflicts=True)
        inserted = Job.objects.filter(pk__in=[row.pk for row in rows]).count()  # another worker inserted the others
        if inserted:
            counts = {"schedule": name, "kind": kind.name, "count": inserted}
            transaction.on_commit(partial(logger.info, "jobs_scheduled", **counts), robust=True)
    return inserted
