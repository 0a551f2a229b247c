"""jobs (137): timing, limits and schedules of jobs, and Celery, which only wakes workers."""

from typing import Any

from kombu import Queue

from settings.env import ENVIRONMENT
from settings.urls import broker_url

JOBS_LEASE_SECONDS = 10.0  # without a renewal for this long, other workers reclaim the job
JOBS_TICK_SECONDS = 2.0  # between two ticks of a supervisor
JOBS_BACKOFF_SECONDS = 2.0  # the pause after the first failed attempt; it doubles with each
JOBS_PUBLISH_SECONDS = 0.25  # the longest wait for the broker, within a request
# Hosts kill 30 s after SIGTERM. Jobs that have not finished within this time return to the queue.
JOBS_SHUTDOWN_SECONDS = 2.0 if ENVIRONMENT.name == "dev" else 20.0
JOBS_IMPORT_MAX_BYTES: int = ENVIRONMENT["IMPORT_MAX_BYTES"]
JOBS_PER_USER: int = ENVIRONMENT["JOBS_PER_USER"]  # waiting and running
JOBS_RUNNING_PER_USER: int = ENVIRONMENT["JOBS_RUNNING_PER_USER"]  # in all workers together; mails do not count
JOBS_FILES_PER_USER: int = ENVIRONMENT["JOBS_FILES_PER_USER"]  # bytes
JOBS_FILES_TOTAL: int = ENVIRONMENT["JOBS_FILES_TOTAL"]  # bytes
JOBS_DOWNLOADS = max(1, ENVIRONMENT["WEB_THREADS"] // 2)  # threads of a process that may send results
# A worker consumes all queues unless -Q names some. Mails have their own, so that heavy jobs do not delay them. System check
# jobs.E001 finds a kind whose queue is missing here.
_QUEUES = ["default", "mail"]
# A worker that consumes this queue and others keeps one process free for it.
JOBS_RESERVED_QUEUE = "mail"
# Name to the kind, "cron" (five fields, UTC) or "every" (seconds), and optionally "parameters".
JOBS_SCHEDULES: dict[str, dict[str, Any]] = {
    "prune": {"kind": "operations.prune", "cron": "10 3 * * *"},
}
if ENVIRONMENT["ALERT_EMAILS"]:
    JOBS_SCHEDULES["alerts"] = {"kind": "operations.alerts", "every": 60}

CELERY_BROKER_URL = broker_url(ENVIRONMENT["BROKER_URL"] or ENVIRONMENT["REDIS_URL"] or "redis://127.0.0.1:6379/0")
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": f"{ENVIRONMENT['REDIS_PREFIX']}:broker:",
    # Seconds until an unacknowledged message is delivered again. The relay sends missing messages long before that; a shorter
    # time would only wake workers for jobs that are still running.
    "visibility_timeout": 300,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CHANNEL_ERROR_RETRY = True  # a full Redis refuses commands, which must not end the worker
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # None: a worker waits for its broker for ever
# Jobs for which a pool process keeps its connection to PostgreSQL: a new one costs more than a small job.
CELERY_DB_REUSE_MAX = 500
CELERY_TASK_QUEUES = [Queue(name) for name in _QUEUES]
CELERY_TASK_DEFAULT_QUEUE = _QUEUES[0]
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# Not the number of processors, as hosts show all of theirs. --concurrency overrides it. One process is for the reserved queue.
CELERY_WORKER_CONCURRENCY = 3
CELERY_WORKER_MAX_MEMORY_PER_CHILD = 256 * 1024  # KiB: a process that has used more is replaced after its job
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False  # their rows show that they run
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # otherwise anyone with access to the broker could stop workers
CELERY_WORKER_HIJACK_ROOT_LOGGER = False  # observability configures the log
CELERY_WORKER_REDIRECT_STDOUTS = False

RETENTION_IDEMPOTENCY: int = ENVIRONMENT["RETENTION_IDEMPOTENCY"]  # hours; see apps/jobs/services/idempotency.py
RETENTION_FILES: int = ENVIRONMENT["RETENTION_FILES"]  # days after the end of their jobs
RETENTION_JOBS: int = ENVIRONMENT["RETENTION_JOBS"]  # days after the end; see apps/jobs/retention.py
