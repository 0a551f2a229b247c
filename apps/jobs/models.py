"""Tables of jobs: one row for each job, its files in chunks, the workers that are running, and the queues that are paused.

The row is both the record of the job and its outbox. All times that a claim depends on come from the database's clock, so a
worker's wrong clock does no harm.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.practices.database.keys import uuid7

CHUNK_BYTES = 1024**2


class JobState(models.TextChoices):
    """The state of a job. The words are those of River and Oban.

    ``scheduled`` waits for its ``run_at``; ``retryable`` failed and waits for its next attempt. The relay moves both to
    ``queued`` when they are due, and only a queued job can be claimed. The last three are final: ``discarded`` means that the
    last attempt failed, or that a problem made another attempt pointless.
    """

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYABLE = "retryable"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"


DELAYED = (JobState.SCHEDULED, JobState.RETRYABLE)
WAITING = (*DELAYED, JobState.QUEUED)
UNFINISHED = (*WAITING, JobState.RUNNING)
FINISHED = (JobState.SUCCEEDED, JobState.CANCELLED, JobState.DISCARDED)


class JobStop(models.TextChoices):
    """What a running job is asked to do at its next checkpoint."""

    NONE = "", "continue"
    CANCEL = "cancel", "cancel"
    RELEASE = "release", "return to the queue"


class Job(models.Model):
    """A piece of work that runs outside the request."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=100)
    queue = models.CharField(max_length=50, default="default")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        related_name="+",
        db_index=False,  # jobs_owner begins with it
        db_comment="Null: the job belongs to the service.",
    )
    parameters = models.JSONField(default=dict)
    request_id = models.CharField(
        max_length=64, blank=True, default="", db_comment="The submitting request, as in the log."
    )
    traceparent = models.CharField(
        max_length=55, blank=True, default="", db_default="", db_comment="The submission in its trace, if it has one."
    )
    schedule = models.CharField(
        max_length=100, blank=True, default="", db_default="", db_comment="Its schedule, if any."
    )
    scheduled_for = models.DateTimeField(null=True, db_comment="The due time of the schedule that this job runs for.")
    state = models.CharField(max_length=10, choices=JobState, default=JobState.QUEUED)

    created_at = models.DateTimeField(db_default=Now())
    run_at = models.DateTimeField(db_default=Now(), db_comment="The earliest time of the next attempt.")
    start_tag = models.BigIntegerField(default=0, db_default=0, db_comment="The lowest of its queue is claimed first.")
    sent_at = models.DateTimeField(null=True, db_comment="When its message was last sent. Null: to be sent.")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    attempts = models.PositiveIntegerField(default=0, db_comment="Claims, without those that were released.")
    fence = models.PositiveBigIntegerField(default=0, db_comment="Fencing token, incremented by each claim.")
    quarantined = models.BooleanField(default=False, db_default=False, db_comment="May have killed a worker.")
    isolated = models.BooleanField(default=False, db_default=False, db_comment="Its worker runs nothing else.")
    worker = models.CharField(max_length=200, blank=True, default="", db_comment="The process that renews the lease.")
    runner = models.CharField(max_length=100, blank=True, default="", db_comment="The process that runs the job.")
    leased_until = models.DateTimeField(null=True, db_comment="After this, any worker may reclaim the job.")
    heartbeat_at = models.DateTimeField(null=True)
    stop = models.CharField(max_length=10, choices=JobStop, blank=True, default=JobStop.NONE)

    progress_done = models.PositiveBigIntegerField(default=0)
    progress_total = models.PositiveBigIntegerField(null=True)
    progress_message = models.CharField(max_length=200, blank=True, default="")
    checkpoint = models.JSONField(null=True, db_comment="Where the next attempt continues.")

    result = models.JSONField(null=True)
    result_name = models.CharField(max_length=200, blank=True, default="")
    result_type = models.CharField(max_length=100, blank=True, default="")
    problem = models.JSONField(null=True, db_comment="Why the job was discarded (RFC 9457), for its owner.")
    error = models.TextField(blank=True, default="", db_comment="The last error, for administrators.")

    class Meta:
        db_table_comment = "Background jobs: the record of each job and the outbox of messages to the broker."
        constraints = [
            models.CheckConstraint(
                condition=Q(state="running", leased_until__isnull=False)
                | (~Q(state="running") & Q(leased_until__isnull=True)),
                name="jobs_running_is_leased",
            ),
            models.CheckConstraint(
                condition=Q(state__in=UNFINISHED, finished_at__isnull=True)
                | Q(state__in=FINISHED, finished_at__isnull=False),
                name="jobs_finished_is_dated",
            ),
            models.UniqueConstraint(
                fields=["schedule", "scheduled_for"], name="jobs_schedule_once", condition=~Q(schedule="")
            ),
        ]
        indexes = [
            models.Index(fields=["owner", "-created_at", "-id"], name="jobs_owner"),
            models.Index(fields=["owner", "state", "-created_at", "-id"], name="jobs_owner_state"),
            models.Index(fields=["owner", "kind", "-created_at", "-id"], name="jobs_owner_kind"),
            models.Index(  # written once for each job; unfinished jobs are few (see job_list)
                fields=["owner", "kind", "state", "-created_at", "-id"],
                name="jobs_owner_finished",
                condition=Q(state__in=FINISHED),
            ),
            models.Index(fields=["-created_at", "-id"], name="jobs_created"),
            models.Index(fields=["run_at", "id"], name="jobs_queued", condition=Q(state="queued")),
            models.Index(fields=["run_at", "id"], name="jobs_delayed", condition=Q(state__in=DELAYED)),
            models.Index(fields=["queue", "start_tag", "id"], name="jobs_start_tag", condition=Q(state="queued")),
            models.Index(
                fields=["queue", "start_tag", "id"],
                name="jobs_quarantined",
                condition=Q(state="queued", quarantined=True),
            ),
            models.Index(
                fields=["owner", "queue", "start_tag"], name="jobs_owner_start_tag", condition=Q(state="queued")
            ),
            models.Index(fields=["leased_until"], name="jobs_running", condition=Q(state="running")),
            models.Index(fields=["finished_at"], name="jobs_finished", condition=Q(finished_at__isnull=False)),
            models.Index(fields=["kind", "-created_at", "-id"], name="jobs_discarded", condition=Q(state="discarded")),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class ChunkPurpose(models.TextChoices):
    """The file of a job that a chunk belongs to."""

    UPLOAD = "upload"
    RESULT = "result"


class JobChunk(models.Model):
    """At most CHUNK_BYTES of a job's file, numbered from 0.

    Web and worker share no disk, and neither loads a whole file. ``owner_id`` repeats the job's owner so that one index sums up
    what an owner stores.
    """

    owner_id = models.UUIDField(null=True, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="chunks", db_index=False)
    purpose = models.CharField(max_length=6, choices=ChunkPurpose)
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        db_table_comment = "Uploads and result files of jobs, in pieces of at most 1 MiB."
        constraints = [models.UniqueConstraint(fields=["job", "purpose", "number"], name="jobs_chunk_unique")]
        indexes = [models.Index(fields=["owner_id"], name="jobs_chunk_owner", condition=Q(owner_id__isnull=False))]

    def __str__(self) -> str:
        return f"{self.purpose} {self.number} of {self.job_id}"


class JobWorker(models.Model):
    """A running worker. Its supervisor updates ``seen_at`` at every tick; a killed worker leaves its row behind."""

    name = models.CharField(max_length=200, primary_key=True)
    queues = models.JSONField(default=list)
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table_comment = "Running workers, and when each was last seen."

    def __str__(self) -> str:
        return self.name


class QueuePause(models.Model):
    """A paused queue: workers claim none of its jobs while the row exists. Running jobs go on."""

    queue = models.CharField(max_length=50, primary_key=True)
    paused_at = models.DateTimeField(db_default=Now())
    paused_by = models.CharField(max_length=200, db_comment="The user's id, or the command.")

    class Meta:
        db_table_comment = "Paused queues: none of their jobs is claimed."
        default_permissions = ()
        permissions = [("pause_queue", "Can pause and resume queues")]

    def __str__(self) -> str:
        return self.queue


class IdempotencyKey(models.Model):
    """A request made under a client's key (``fingerprint``: its SHA-256), with its response, in the transaction of its effect."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    method = models.CharField(max_length=10)
    route = models.CharField(max_length=200)
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)
    status = models.PositiveIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=b"")

    class Meta:
        db_table_comment = "Answers of requests that were sent with an Idempotency-Key."
        constraints = [
            models.UniqueConstraint(fields=["owner", "method", "route", "key"], name="jobs_idempotency_key_once")
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.route}"
