"""Metrics of jobs: counters and histograms of the worker, and gauges that are read from PostgreSQL at a scrape."""

from collections.abc import Sequence

from django.conf import settings
from django.db import DatabaseError
from prometheus_client.core import Metric

from apps.jobs.kinds import kind_label, kind_names
from apps.jobs.models import Job
from apps.jobs.monitoring import job_stats
from apps.practices.mechanisms.metrics import PREFIX, Durations, count
from apps.practices.observability.gauges import SourceUnavailable, gauge, gauges_from

# In seconds, from a job that does little to the default time limit of a kind.
BOUNDS = (0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_waits = Durations(
    f"{PREFIX}jobs_wait_seconds",
    "Time from when a job was due until it was claimed.",
    labels=["kind", "queue"],
    bounds=BOUNDS,
)
_runs = Durations(
    f"{PREFIX}jobs_run_seconds",
    "Time from a claim to its end, with any outcome.",
    labels=["kind", "queue"],
    bounds=BOUNDS,
)


def claim_observe(job: Job) -> None:
    """Observe how long a job waited that has just been claimed."""
    if job.started_at is not None:
        _waits.observe(
            max(0.0, (job.started_at - job.run_at).total_seconds()), kind=kind_label(job.kind), queue=job.queue
        )


def attempt_observe(job: Job, *, outcome: str, seconds: float) -> None:
    """Count an attempt that has ended. ``outcome`` is one of a few words."""
    kind = kind_label(job.kind)
    _runs.observe(seconds, kind=kind, queue=job.queue)
    count("jobs_attempts", kind=kind, outcome=outcome, queue=job.queue)


def _gauges() -> Sequence[Metric]:
    try:
        found = job_stats()
    except DatabaseError as error:
        raise SourceUnavailable from error
    jobs = [({"queue": queue, "state": state}, number) for (queue, state), number in sorted(found.jobs.items())]
    oldest = [({"queue": queue}, seconds) for queue, seconds in sorted(found.oldest.items())]
    paused = [({"queue": queue}, float(queue in found.paused)) for queue in sorted(found.oldest)]
    exhausted: dict[str, float] = dict.fromkeys(kind_names(), 0)  # an alert on an increase needs the 0 before it
    for kind, number in found.exhausted.items():
        exhausted[kind_label(kind)] = exhausted.get(kind_label(kind), 0) + number
    return [
        gauge("jobs", "Unfinished jobs.", jobs, labels=["queue", "state"]),
        gauge("jobs_oldest_seconds", "How long the longest-due job has been waiting.", oldest, labels=["queue"]),
        gauge("jobs_queue_paused", "Whether the queue is paused, 0 or 1.", paused, labels=["queue"]),
        gauge(
            "jobs_exhausted",
            "Discarded jobs whose last attempt failed.",
            [({"kind": kind}, number) for kind, number in sorted(exhausted.items())],
            labels=["kind"],
        ),
        gauge("jobs_workers", "Workers with a heartbeat within the last minute.", [({}, found.workers)]),
        gauge(
            "jobs_files_bytes",
            "Bytes stored in files of jobs.",
            [({"purpose": purpose}, size) for purpose, size in sorted(found.files.items())],
            labels=["purpose"],
        ),
        gauge(
            "jobs_files_limit_bytes", "The limit of those bytes (JOBS_FILES_TOTAL).", [({}, settings.JOBS_FILES_TOTAL)]
        ),
    ]


gauges_from("jobs", _gauges)
