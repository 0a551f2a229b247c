"""Reads."""

from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.practices.errors import NotFound
from tests.sample.models import Effect, Note


def note_list(*, title: str | None = None) -> QuerySet[Note]:
    """Give the published notes, those alone whose title is ``title`` when it is given."""
    notes = Note.objects.filter(published=True)
    return notes if title is None else notes.filter(title=title)


def note_read(*, note_id: UUID, reader: User | AnonymousUser) -> Note:
    """Give one note that ``reader`` may see; raise ``NotFound`` for others as for none."""
    visible = Q(published=True) if reader.is_anonymous else Q(published=True) | Q(owner=reader)
    note = Note.objects.select_related("owner").filter(visible, pk=note_id).first()
    if note is None:
        raise NotFound("There is no such note.")
    return note


def effect_count(*, job_id: UUID | None) -> int:
    """Say how often a job took effect."""
    return Effect.objects.filter(job_id=job_id).count()
