"""What is due by itself: a row for each due time of each schedule, inserted by whichever worker looks first.

No process of its own (Celery's beat) has to run, once only, for it: (schedule, slot) is unique, so any number may try. What
fell due while nobody ran is inserted late.
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

from apps.jobs.kinds import Kind, kind_named
from apps.jobs.models import Job
from apps.jobs.services.fairness import start_tag_next

LATE = timedelta(days=1)  # what was due earlier is not made up for
MOST = 100  # slots of one schedule at a time, the latest
FIELDS = 5  # of a cron expression
MEMBERS = frozenset({"kind", "cron", "every", "parameters"})
logger = structlog.get_logger(__name__)


def schedules_insert() -> int:
    """Queue what has fallen due, and say how many jobs that were."""
    given: Mapping[str, Mapping[str, Any]] = settings.JOBS_SCHEDULES
    if not given:
        return 0
    last = dict(
        Job.objects.filter(schedule__in=given).order_by().values_list("schedule").annotate(last=Max("scheduled_for"))
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        now = cursor.fetchone()[0]
    return sum(_schedule_insert(name, entry, last.get(name), now) for name, entry in given.items())


def schedule_error(entry: Mapping[str, Any]) -> str | None:
    """Say what is wrong with a schedule; None when nothing is."""
    if unknown := set(entry) - MEMBERS:
        return f"it has {', '.join(sorted(unknown))}, which means nothing"
    kind = kind_named(str(entry.get("kind")))
    if kind is None:
        return f"there is no kind of job {entry.get('kind')!r}"
    if ("cron" in entry) == ("every" in entry):
        return 'it needs either "cron" or "every"'
    try:
        if next(_slots(entry, after=datetime(2026, 1, 1, tzinfo=UTC)), None) is None:
            return "its time never comes"
    except (CronSimError, ValueError, TypeError) as error:
        return f"its time cannot be read: {error}"
    serializer = kind.serializer(data=dict(entry.get("parameters", {})))
    return None if serializer.is_valid() else f"its parameters are not the kind's: {serializer.errors}"


def slots_due(entry: Mapping[str, Any], *, last: datetime | None, now: datetime) -> list[datetime]:
    """Give the due times after the ``last`` that is queued, up to now; of a schedule that never was, the latest alone."""
    found: list[datetime] = []
    for slot in _slots(entry, after=now - LATE if last is None else max(last, now - LATE)):
        if slot > now:
            break
        found.append(slot)
    return found[-1:] if last is None else found[-MOST:]


def _slots(entry: Mapping[str, Any], *, after: datetime) -> Iterator[datetime]:
    """Return every due time after a time, without end. Raise ``CronSimError`` or ``ValueError`` where it makes no sense.

    As in cron (POSIX crontab), a day of month and a weekday that are both given are either of them. CronSim 2.8 does as
    Debian's cron: where one of the two fields begins with ``*``, as ``*/2`` does, a day has to match both.
    """
    if "every" in entry:
        every = int(entry["every"])
        if every < 1:
            raise ValueError("every is at least a second")
        second = int(after.timestamp()) // every * every
        while True:
            second += every
            yield datetime.fromtimestamp(second, tz=UTC)
    expression = str(entry["cron"])
    if len(expression.split()) != FIELDS:  # with a sixth, the first would be seconds
        raise ValueError(f"cron has {FIELDS} fields: minute, hour, day of month, month, weekday")
    yield from CronSim(expression, after.astimezone(UTC))


def _schedule_insert(name: str, entry: Mapping[str, Any], last: datetime | None, now: datetime) -> int:
    kind = kind_named(str(entry["kind"]))
    if kind is None:
        logger.error("job_schedule_unknown", schedule=name, kind=entry["kind"])
        return 0
    slots = slots_due(entry, last=last, now=now)
    return _rows_insert(name, kind, dict(entry.get("parameters", {})), slots) if slots else 0


def _rows_insert(name: str, kind: Kind, parameters: dict[str, Any], slots: list[datetime]) -> int:
    with transaction.atomic():
        first = start_tag_next(queue=kind.queue, kind=kind.name, owner_id=None)
        rows = [
            Job(
                kind=kind.name,
                queue=kind.queue,
                parameters=parameters,
                schedule=name,
                scheduled_for=slot,
                start_tag=first + number,
            )
            for number, slot in enumerate(slots)
        ]
        Job.objects.bulk_create(rows, ignore_conflicts=True)
        inserted = Job.objects.filter(pk__in=[row.pk for row in rows]).count()  # the others are somebody else's
        if inserted:
            said = {"schedule": name, "kind": kind.name, "count": inserted}
            transaction.on_commit(partial(logger.info, "jobs_scheduled", **said), robust=True)
    return inserted
