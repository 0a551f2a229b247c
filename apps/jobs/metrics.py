"""What is counted of jobs where they are done, and what the ledger tells at a scrape."""

from collections.abc import Sequence

from django.conf import settings
from django.db import DatabaseError
from prometheus_client.core import Metric

from apps.jobs.kinds import kind_label, kind_names
from apps.jobs.models import Job
from apps.jobs.monitoring import ledger_stats
from apps.practices.mechanisms.metrics import Durations, count
from apps.practices.observability.gauges import SourceAway, gauge, gauges_from

# Seconds, from a mail to the longest that a kind may take.
BOUNDS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_waits = Durations("jobs_wait_seconds", "Time from when a job was due to its claim.", labels=["kind"], bounds=BOUNDS)
_runs = Durations("jobs_run_seconds", "Time from a claim to its end, however it ended.", labels=["kind"], bounds=BOUNDS)


def claim_observe(job: Job) -> None:
    """Count how long a job has waited that was claimed just now."""
    if job.started_at is not None:
        _waits.observe(max(0.0, (job.started_at - job.run_at).total_seconds()), kind=kind_label(job.kind))


def attempt_observe(job: Job, *, outcome: str, seconds: float) -> None:
    """Count an attempt that has ended; ``outcome`` is one of a few words."""
    kind = kind_label(job.kind)
    _runs.observe(seconds, kind=kind)
    count("jobs_attempts", kind=kind, outcome=outcome)


def _gauges() -> Sequence[Metric]:
    try:
        found = ledger_stats()
    except DatabaseError as error:
        raise SourceAway from error
    jobs = [({"queue": queue, "state": state}, number) for (queue, state), number in sorted(found.jobs.items())]
    oldest = [({"queue": queue}, seconds) for queue, seconds in sorted(found.oldest.items())]
    exhausted: dict[str, float] = dict.fromkeys(kind_names(), 0)  # an alarm at a rise needs to see the 0 before
    for kind, number in found.exhausted.items():
        exhausted[kind_label(kind)] = exhausted.get(kind_label(kind), 0) + number
    return [
        gauge("jobs", "Unfinished jobs.", jobs, labels=["queue", "state"]),
        gauge("jobs_oldest_seconds", "How long the job waits that is due for longest.", oldest, labels=["queue"]),
        gauge(
            "jobs_exhausted",
            "Discarded jobs whose last attempt failed.",
            [({"kind": kind}, number) for kind, number in sorted(exhausted.items())],
            labels=["kind"],
        ),
        gauge("jobs_workers", "Workers seen within a minute.", [({}, found.workers)]),
        gauge(
            "jobs_files_bytes",
            "Bytes that the files of jobs take.",
            [({"purpose": purpose}, size) for purpose, size in sorted(found.files.items())],
            labels=["purpose"],
        ),
        gauge(
            "jobs_files_limit_bytes", "Bytes that they may take (JOBS_FILES_TOTAL).", [({}, settings.JOBS_FILES_TOTAL)]
        ),
    ]


gauges_from("jobs", _gauges)
