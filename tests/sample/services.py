"""Writes."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from apps.accounts.models import User
from apps.practices.caching import tags_change
from apps.practices.database.writes import version_delete, version_update
from apps.practices.errors import PermissionDenied
from tests.sample.models import Note, Remark


def note_create(*, owner: User, title: str, body: str = "", published: bool = True) -> Note:
    """Store a new note of ``owner``. The texts must be clean."""
    note = Note.objects.create(owner=owner, title=title, body=body, published=published)
    tags_change("notes")
    return note


def note_update(*, note: Note, actor: User, expected: int | None, **values: str | bool) -> Note:
    """Change a note, if its stored version is ``expected`` (None: any).

    Raise ``PermissionDenied`` unless ``actor`` owns the note, ``PreconditionFailed`` for another version.
    """
    note_require_owner(note=note, actor=actor)
    with transaction.atomic():
        version_update(instance=note, expected=expected, **values)
        tags_change("notes", f"note:{note.pk}")
    return note


def note_delete(*, note: Note, actor: User, expected: int | None) -> None:
    """Delete a note. Raise what ``note_update`` raises."""
    note_require_owner(note=note, actor=actor)
    tags = ("notes", f"note:{note.pk}")
    with transaction.atomic():
        version_delete(instance=note, expected=expected)
        tags_change(*tags)


def remark_create(*, owner: User, note: Note, text: str) -> Remark:
    """Store a remark about a note that ``owner`` may read."""
    return Remark.objects.create(owner=owner, note=note, text=text)


def notes_erase(*, user_id: UUID, now: datetime) -> None:
    """Delete the notes of a user, and all remarks about them, which would protect them."""
    Remark.objects.filter(note__owner_id=user_id).delete()
    Note.objects.filter(owner_id=user_id).delete()
    tags_change("notes")


def note_require_owner(*, note: Note, actor: User) -> None:
    """Raise ``PermissionDenied`` unless ``actor`` owns the note."""
    if note.owner_id != actor.pk:
        raise PermissionDenied("Only the owner of a note may change it.")
