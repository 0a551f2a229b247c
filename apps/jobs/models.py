"""The ledger: one row a job, which is both its truth and its outbox, and its files in chunks beside it.

All times that a claim depends on are the database's own, so that no worker's clock matters.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.practices.database.keys import uuid7

CHUNK_BYTES = 1024**2


class JobState(models.TextChoices):
    """Where a job is; the last three are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobStop(models.TextChoices):
    """What a running job is asked to do at its next checkpoint."""

    NONE = "", "go on"
    CANCEL = "cancel", "cancel"
    RELEASE = "release", "give the job back"


class Job(models.Model):
    """One piece of heavy work.

    ``fence`` counts claims: every write of a claim names its fence, so that a worker that lost its lease changes nothing.
    ``attempts`` counts claims that were not given back. ``leased_until`` is when a running job counts as abandoned; the
    worker's main process (``worker``) renews it while the process that computes (``runner``) lives. ``sent_at`` is when the
    id was last handed to the broker, NULL when it has to be. ``turn`` is its place among the jobs of all owners (see
    ``services.fairness``). A ``suspect`` was at work when a worker died with several jobs; ``is_alone`` says that the claim
    is one of a suspect, beside which its worker runs nothing. ``schedule`` and ``slot`` name the due time that a periodic
    job stands for. ``checkpoint`` is where the next attempt goes on. ``error`` is for administrators, ``problem`` (RFC 9457)
    for the owner.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=100)
    queue = models.CharField(max_length=50, default="default")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        related_name="+",
        db_index=False,  # jobs_owner begins with it
    )
    parameters = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True, default="")
    schedule = models.CharField(max_length=100, blank=True, default="", db_default="")
    slot = models.DateTimeField(null=True)
    state = models.CharField(max_length=10, choices=JobState, default=JobState.QUEUED)

    created_at = models.DateTimeField(db_default=Now())
    run_at = models.DateTimeField(db_default=Now())
    turn = models.BigIntegerField(default=0, db_default=0)
    sent_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    attempts = models.PositiveIntegerField(default=0)
    fence = models.PositiveBigIntegerField(default=0)
    suspect = models.BooleanField(default=False, db_default=False)
    is_alone = models.BooleanField(default=False, db_default=False)
    worker = models.CharField(max_length=200, blank=True, default="")
    runner = models.CharField(max_length=100, blank=True, default="")
    leased_until = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    stop = models.CharField(max_length=10, choices=JobStop, blank=True, default=JobStop.NONE)

    progress_done = models.PositiveBigIntegerField(default=0)
    progress_total = models.PositiveBigIntegerField(null=True)
    progress_message = models.CharField(max_length=200, blank=True, default="")
    checkpoint = models.JSONField(null=True)

    result = models.JSONField(null=True)
    result_name = models.CharField(max_length=200, blank=True, default="")
    result_type = models.CharField(max_length=100, blank=True, default="")
    problem = models.JSONField(null=True)
    error = models.TextField(blank=True, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="running", leased_until__isnull=False)
                | (~Q(state="running") & Q(leased_until__isnull=True)),
                name="jobs_running_is_leased",
            ),
            models.CheckConstraint(
                condition=Q(state__in=("queued", "running"), finished_at__isnull=True)
                | (~Q(state__in=("queued", "running")) & Q(finished_at__isnull=False)),
                name="jobs_ended_is_dated",
            ),
            models.UniqueConstraint(fields=["schedule", "slot"], name="jobs_schedule_once", condition=~Q(schedule="")),
        ]
        indexes = [
            models.Index(fields=["owner", "-created_at", "-id"], name="jobs_owner"),
            models.Index(fields=["owner", "state", "-created_at", "-id"], name="jobs_owner_state"),
            models.Index(fields=["owner", "kind", "-created_at", "-id"], name="jobs_owner_kind"),
            models.Index(  # written once a job: what has not ended is little (see job_list)
                fields=["owner", "kind", "state", "-created_at", "-id"],
                name="jobs_owner_ended",
                condition=Q(state__in=("succeeded", "failed", "cancelled")),
            ),
            models.Index(fields=["-created_at", "-id"], name="jobs_created"),
            models.Index(fields=["run_at", "id"], name="jobs_queued", condition=Q(state="queued")),
            models.Index(fields=["queue", "turn", "id"], name="jobs_turn", condition=Q(state="queued")),
            models.Index(
                fields=["queue", "turn", "id"], name="jobs_suspects", condition=Q(state="queued", suspect=True)
            ),
            models.Index(fields=["owner", "queue", "turn"], name="jobs_owner_turn", condition=Q(state="queued")),
            models.Index(fields=["leased_until"], name="jobs_running", condition=Q(state="running")),
            models.Index(fields=["finished_at"], name="jobs_ended", condition=Q(finished_at__isnull=False)),
            models.Index(fields=["kind", "-created_at", "-id"], name="jobs_failed", condition=Q(state="failed")),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class ChunkPurpose(models.TextChoices):
    """Which file of a job a chunk belongs to."""

    UPLOAD = "upload"
    RESULT = "result"


class JobChunk(models.Model):
    """At most CHUNK_BYTES of a job's file, numbered from 0: web and worker share no disk, and neither holds a whole file.

    ``owner_id`` is that of the job, once more, so that what an owner keeps is counted by one index.
    """

    owner_id = models.UUIDField(null=True, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="chunks", db_index=False)
    purpose = models.CharField(max_length=6, choices=ChunkPurpose)
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "purpose", "number"], name="jobs_chunk_unique")]
        indexes = [models.Index(fields=["owner_id"], name="jobs_chunk_owner", condition=Q(owner_id__isnull=False))]

    def __str__(self) -> str:
        return f"{self.purpose} {self.number} of {self.job_id}"


class JobWorker(models.Model):
    """A worker, while it runs: its supervisor says so every tick. One that was killed leaves its row, last seen back then."""

    name = models.CharField(max_length=200, primary_key=True)
    queues = models.JSONField(default=list)
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class IdempotencyKey(models.Model):
    """A request that was carried out under a client's key, with the answer that it got, in one transaction with its effect.

    ``fingerprint`` is the SHA-256 of what was asked; ``answer`` the bytes that were sent.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    method = models.CharField(max_length=10)
    route = models.CharField(max_length=200)
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)
    status = models.PositiveIntegerField(null=True)
    headers = models.JSONField(default=dict)
    answer = models.BinaryField(default=b"")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "method", "route", "key"], name="jobs_idempotency_key_once")
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.route}"
