"""Notes, remarks about them, and the effects of jobs."""

from django.conf import settings
from django.db import models

from apps.practices.database.keys import uuid7

TITLE_LENGTH = 200
BODY_LENGTH = 20_000


class Note(models.Model):
    """A text with a title. Only its owner can read a note that is not ``published``."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    title = models.CharField(max_length=TITLE_LENGTH)
    body = models.TextField(blank=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    published = models.BooleanField(default=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="sample_note_created"),
            models.Index(fields=["title", "id"], name="sample_note_title"),
            models.Index(fields=["title", "-created_at", "-id"], name="sample_note_title_created"),
        ]

    def __str__(self) -> str:
        return self.title


class Remark(models.Model):
    """A remark about a note, visible to its author and the note's owner. It has columns of unusual types: bytes and a file."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    note = models.ForeignKey(Note, on_delete=models.PROTECT, related_name="remarks", db_index=False)
    text = models.CharField(max_length=TITLE_LENGTH)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    seal = models.BinaryField(default=b"", editable=False)
    scan = models.FileField(blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(fields=["note", "-created_at", "-id"], name="sample_remark_note"),
            models.Index(fields=["note", "owner", "-created_at", "-id"], name="sample_remark_own"),
        ]
        constraints = [models.UniqueConstraint(fields=["note", "text"], name="sample_remark_once")]

    def __str__(self) -> str:
        return self.text


class Effect(models.Model):
    """The effect of a ``sample.count`` job: one row per run, so that tests can count runs."""

    job_id = models.UUIDField(db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"effect of {self.job_id}"
