"""Reads."""

from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.practices.errors import NotFound
from tests.sample.models import Effect, Note, Remark


def note_list(*, title: str | None = None) -> QuerySet[Note]:
    """Return the published notes; with ``title``, only those with that title."""
    notes = Note.objects.filter(published=True)
    return notes if title is None else notes.filter(title=title)


def note_readable(viewer: AbstractBaseUser | AnonymousUser) -> QuerySet[Note]:
    """Return the notes that the viewer may read: published ones, and their own."""
    return Note.objects.filter(
        Q(published=True) | Q(owner_id=viewer.pk) if viewer.is_authenticated else Q(published=True)
    )


def note_read(*, note_id: UUID, reader: User | AnonymousUser) -> Note:
    """Return a note that ``reader`` may see. Raise ``NotFound`` for any other, existing or not."""
    note = note_readable(reader).select_related("owner").filter(pk=note_id).first()
    if note is None:
        raise NotFound("There is no such note.")
    return note


def effect_count(*, job_id: UUID | None) -> int:
    """Return how often a job took effect."""
    return Effect.objects.filter(job_id=job_id).count()


def remark_readable(viewer: AbstractBaseUser | AnonymousUser) -> QuerySet[Remark]:
    """Return the remarks that the viewer may read: their own, and those about notes of theirs."""
    return Remark.objects.filter(Q(owner_id=viewer.pk) | Q(note__owner_id=viewer.pk))


def remark_list(*, note: Note, reader: AbstractBaseUser | AnonymousUser) -> QuerySet[Remark]:
    """Return the remarks about a note that the reader may read. Unlike in ``remark_readable``, an index serves each case."""
    remarks = Remark.objects.filter(note_id=note.pk)
    return remarks if note.owner_id == reader.pk else remarks.filter(owner_id=reader.pk)


def remark_read(*, remark_id: UUID, reader: AbstractBaseUser | AnonymousUser) -> Remark:
    """Return one remark that the reader may read. Raise ``NotFound`` for any other."""
    remark = remark_readable(reader).filter(pk=remark_id).first()
    if remark is None:
        raise NotFound("There is no such remark.")
    return remark
