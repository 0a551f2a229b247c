"""`manage.py jobs`: inspect, retry and cancel jobs, pause and resume queues. Needs only PostgreSQL."""

import json
import re
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.utils import timezone

from apps.jobs.kinds import kind_named, kind_names
from apps.jobs.models import Job, JobState
from apps.jobs.monitoring import job_stats, owner_by_email, queue_pauses
from apps.jobs.serializers import progress
from apps.jobs.services.bulk import Done, jobs_cancel, jobs_retry
from apps.jobs.services.pausing import UnknownQueue, pause_warning, queue_pause, queue_resume
from apps.practices.observability.redaction import redact_text

BY = "manage.py jobs"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
PERSONAL = ("parameters", "checkpoint", "result")  # submitted by owners, or produced for them
LINE = "{:36}  {:9}  {:>9}  {:>8}  {:>6}  {:24}  {}"

ABOUT = """Inspect, retry and cancel jobs of all owners; pause and resume queues.

Needs only PostgreSQL: neither Redis nor a worker has to be running.

  manage.py jobs list --state discarded              discarded jobs, newest first
  manage.py jobs show ID                             every column of a job, with its last error
  manage.py jobs retry --state discarded --kind accounts.mail --older 1h
  manage.py jobs cancel --owner ada@example.com      list takes the same conditions
  manage.py jobs queues                              queues, and whether they are paused
  manage.py jobs pause default                       let the jobs of a queue wait until it is resumed
  manage.py jobs resume default

Exit status: 0 success; 1 failure, explained in the last line; 2 invalid arguments."""
LIST = """List jobs, newest first.

States: scheduled, queued, running, retryable, succeeded, cancelled, discarded. ATTEMPTS shows attempts and their limit; a job
whose last attempt fails is discarded until somebody retries it."""
SHOW = """Show one job as JSON: times, claim, worker, problem and last error.

Parameters, checkpoint and result are not shown, and secrets are removed from the error. In the admin, superusers see the rest."""
RETRY = """Run discarded jobs again, with all their attempts. Each continues at its last checkpoint.

Name ids or conditions. Other jobs are not changed. The relay queues the jobs within seconds."""
CANCEL = """Cancel jobs: waiting jobs at once, running jobs at their next checkpoint.

Name ids or conditions. Finished jobs are not changed."""
QUEUES = """List queues: queued and running jobs, how long the longest-due job waits, and who has paused the queue."""
PAUSE = """Pause a queue: no worker starts another of its jobs until it is resumed.

Running jobs go on. Waiting jobs stay queued, and new ones are accepted; none is lost."""
RESUME = """Resume a queue: the workers start its jobs again, within seconds."""


def duration(text: str) -> timedelta:
    """Return the duration of 30s, 10m, 2h or 7d."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if not found:
        raise ArgumentTypeError(f"invalid time {text!r}; use for example 30s, 10m, 2h or 7d")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def count(text: str) -> int:
    """Return a positive number of rows."""
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise ArgumentTypeError(f"invalid number {text!r}; use a positive integer")
    return int(text)


class Command(BaseCommand):
    help = ABOUT

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", metavar="action", required=True)

        def action(name: str, text: str) -> ArgumentParser:
            first = text.partition(".")[0].partition(":")[0]
            short = first[0].lower() + first[1:]
            return actions.add_parser(name, help=short, description=text, formatter_class=RawDescriptionHelpFormatter)

        listing = action("list", LIST)
        _conditions(listing)
        listing.add_argument("--limit", type=count, default=50, help="the maximum number of jobs (default: 50)")
        action("show", SHOW).add_argument("id", type=UUID, help="the id of the job")
        for name, text in (("retry", RETRY), ("cancel", CANCEL)):
            changing = action(name, text)
            changing.add_argument("ids", type=UUID, nargs="*", metavar="id", help="ids of jobs")
            _conditions(changing)
        action("queues", QUEUES)
        for name, text in (("pause", PAUSE), ("resume", RESUME)):
            action(name, text).add_argument("queue", help="the name of the queue")

    def handle(self, *, action: str, **options: Any) -> None:
        do: Callable[..., None] = getattr(self, f"_{action}")
        if (kind := options.get("kind")) and kind_named(kind) is None:
            self.stderr.write(f"Warning: unknown job kind {kind}. Known kinds: {', '.join(kind_names())}.")
        do(**options)

    def _list(self, *, limit: int, **options: Any) -> None:
        rows = _chosen(**options).select_related("owner").defer(*PERSONAL, "problem", "error")
        self.stdout.write(LINE.format("ID", "STATE", "PROGRESS", "ATTEMPTS", "AGE", "KIND", "OWNER"))
        now = timezone.now()
        for job in rows[:limit].iterator():
            self.stdout.write(_line(job, now=now))

    def _show(self, *, id: UUID, **options: Any) -> None:
        job = Job.objects.filter(pk=id).select_related("owner").defer(*PERSONAL).first()
        if job is None:
            raise CommandError(f"No job has the id {id}.")
        columns = {field.name: getattr(job, field.name) for field in Job._meta.fields if field.name not in PERSONAL}
        columns |= {"owner": job.owner and job.owner.get_username(), "error": redact_text(job.error)}
        self.stdout.write(json.dumps(columns, cls=DjangoJSONEncoder, ensure_ascii=False, indent=2))

    def _queues(self, **options: Any) -> None:
        found, pauses, now = job_stats(), {pause.queue: pause for pause in queue_pauses()}, timezone.now()
        for queue, oldest in sorted(found.oldest.items()):
            pause = pauses.get(queue)
            queued, running = found.jobs[queue, JobState.QUEUED], found.jobs[queue, JobState.RUNNING]
            waits = f", the oldest for {_age(timedelta(seconds=oldest))}" if oldest else ""
            state = f", paused {_age(now - pause.paused_at)} ago by {pause.paused_by}" if pause else ""
            self.stdout.write(f"{queue}: {queued:,} queued{waits}, {running:,} running{state}")

    def _pause(self, *, queue: str, **options: Any) -> None:
        if warning := pause_warning(queue):
            self.stderr.write(f"Warning: {warning}")
        self._switch(queue_pause, queue, done="is paused", unchanged="was paused already")

    def _resume(self, *, queue: str, **options: Any) -> None:
        self._switch(queue_resume, queue, done="is resumed", unchanged="was not paused")

    def _switch(self, act: Callable[..., bool], queue: str, *, done: str, unchanged: str) -> None:
        try:
            changed = act(queue=queue, by=BY)
        except UnknownQueue as error:
            raise CommandError(str(error), returncode=2) from error
        self.stdout.write(f"The queue {queue} {done if changed else unchanged}.")

    def _retry(self, **options: Any) -> None:
        self._change(jobs_retry, done="scheduled to run again", refused="not discarded", **options)

    def _cancel(self, **options: Any) -> None:
        self._change(jobs_cancel, done="cancelled", refused="already finished", **options)

    def _change(
        self, act: Callable[..., Iterator[Done]], *, done: str, refused: str, ids: list[UUID], **options: Any
    ) -> None:
        if not ids and not any(options[name] for name in ("state", "kind", "owner", "older")):
            raise CommandError("Name ids, or at least one condition: --state, --kind, --owner, --older.", returncode=2)
        batches = list(act(jobs=_chosen(ids=ids, **options), by=BY))
        changed = [job_id for batch in batches for job_id in batch.changed]
        asked = [job_id for batch in batches for job_id in batch.asked]
        stopping = f", {len(asked):,} will stop at the next checkpoint" if asked else ""
        self.stdout.write(f"{len(changed):,} {done}{stopping}.")
        left = [str(job_id) for job_id in ids if job_id not in {*changed, *asked}]
        if left:
            raise CommandError(f"Not found or {refused}: {', '.join(left)}.")


def _conditions(parser: ArgumentParser) -> None:
    states = "in this state; repeat it for several states"
    parser.add_argument("--state", choices=JobState.values, action="append", help=states)
    parser.add_argument("--kind", help="of this kind, for example accounts.mail")
    parser.add_argument("--owner", metavar="EMAIL", help="of the account with this address")
    parser.add_argument(
        "--older", metavar="TIME", type=duration, help="submitted at least this long ago: 30s, 10m, 2h, 7d"
    )


def _chosen(
    *,
    state: list[str] | None,
    kind: str | None,
    owner: str | None,
    older: timedelta | None,
    ids: list[UUID] | None = None,
    **options: Any,
) -> QuerySet[Job]:
    """Return the jobs that meet every condition, newest first."""
    account = None if owner is None else owner_by_email(owner)
    if owner is not None and account is None:
        raise CommandError(f"No account has the address {owner}.")
    conditions: dict[str, Any] = {
        "pk__in": ids,
        "state__in": state,
        "kind": kind,
        "owner_id": account and account.pk,
        "created_at__lte": older and timezone.now() - older,
    }
    given = {name: value for name, value in conditions.items() if value}
    return Job.objects.filter(**given).order_by("-created_at", "-id")


def _line(job: Job, *, now: datetime) -> str:
    done = progress(vars(job))
    share = f"{done['done']}" if done["percent"] is None else f"{done['percent']} %"
    kind = kind_named(job.kind)
    attempts = f"{job.attempts}/{kind.attempts}" if kind else str(job.attempts)
    owner = "-" if job.owner is None else job.owner.get_username()
    return LINE.format(str(job.pk), job.state, share, attempts, _age(now - job.created_at), job.kind, owner)


def _age(passed: timedelta) -> str:
    seconds = max(0, int(passed.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
