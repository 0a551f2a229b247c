"""jobs (137): the ledger's clockwork, and Celery, which only carries ids and wakes somebody up."""

from typing import Any

from kombu import Queue

from settings.env import ENVIRONMENT
from settings.urls import broker_url

JOBS_LEASE_SECONDS = 10.0  # a worker that is silent for so long has lost its jobs
JOBS_TICK_SECONDS = 2.0  # between two looks of a supervisor: renewals, sends, reclaims
JOBS_BACKOFF_SECONDS = 2.0  # the first pause after a failed attempt; doubles
JOBS_PUBLISH_SECONDS = 0.25  # each wait of the one try to wake a worker, within a request
# Hosts kill 30 s after SIGTERM. Running jobs may end within this, and are given back if they do not.
JOBS_SHUTDOWN_SECONDS = 2.0 if ENVIRONMENT.name == "dev" else 20.0
JOBS_IMPORT_MAX_BYTES: int = ENVIRONMENT["IMPORT_MAX_BYTES"]
JOBS_PER_USER: int = ENVIRONMENT["JOBS_PER_USER"]  # waiting and running
JOBS_RUNNING_PER_USER: int = ENVIRONMENT["JOBS_RUNNING_PER_USER"]  # in all workers together; mails do not count
JOBS_FILES_PER_USER: int = ENVIRONMENT["JOBS_FILES_PER_USER"]  # bytes
JOBS_FILES_TOTAL: int = ENVIRONMENT["JOBS_FILES_TOTAL"]  # bytes
JOBS_DOWNLOADS = max(1, ENVIRONMENT["WEB_THREADS"] // 2)  # threads of a process that may send results at a time
# A worker takes from all queues, unless its -Q names some. Mails have one of their own, so that others' heavy work need not
# delay them. System check jobs.E001 finds a kind whose queue is missing here.
_QUEUES = ["default", "mail"]
# Of the processes of a worker that takes from it and from others, one is kept free for this queue.
JOBS_RESERVED_QUEUE = "mail"
# What is due by itself: a name, the kind, "cron" (five fields, UTC) or "every" (seconds), perhaps "parameters".
JOBS_SCHEDULES: dict[str, dict[str, Any]] = {
    "prune": {"kind": "operations.prune", "cron": "10 3 * * *"},
}

CELERY_BROKER_URL = broker_url(ENVIRONMENT["BROKER_URL"] or ENVIRONMENT["REDIS_URL"] or "redis://127.0.0.1:6379/0")
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": f"{ENVIRONMENT['REDIS_PREFIX']}:broker:",
    # When a message that was not acknowledged is delivered again. The relay rescues jobs long before; a short time here
    # would only wake workers for jobs that still run.
    "visibility_timeout": 300,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CHANNEL_ERROR_RETRY = True  # a Redis that is full refuses commands: no reason to end a worker
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker waits for its broker for as long as it takes
# A pool process keeps its connection to PostgreSQL for so many jobs: making one costs more than a small job.
CELERY_DB_REUSE_MAX = 500
CELERY_TASK_QUEUES = [Queue(name) for name in _QUEUES]
CELERY_TASK_DEFAULT_QUEUE = _QUEUES[0]
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# A host shows all its processors; --concurrency behind the worker line changes it. One of them is for the reserved queue.
CELERY_WORKER_CONCURRENCY = 3
CELERY_WORKER_MAX_MEMORY_PER_CHILD = 256 * 1024  # KiB: a process that held more is replaced after its job
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False  # the ledger knows that they run
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # whoever reaches the broker could stop workers
CELERY_WORKER_HIJACK_ROOT_LOGGER = False  # log lines are observability's
CELERY_WORKER_REDIRECT_STDOUTS = False

RETENTION_IDEMPOTENCY: int = ENVIRONMENT["RETENTION_IDEMPOTENCY"]  # hours; see apps/jobs/services/idempotency.py
RETENTION_FILES: int = ENVIRONMENT["RETENTION_FILES"]  # days after the end of their jobs
RETENTION_JOBS: int = ENVIRONMENT["RETENTION_JOBS"]  # days after the end; see apps/jobs/retention.py
