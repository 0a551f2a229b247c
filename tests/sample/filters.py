"""The lists of notes and remarks."""

from apps.practices.database.lists import KeysetList
from apps.practices.validation.fields import PlainTextField
from tests.sample.models import TITLE_LENGTH, Note, Remark

NOTES = KeysetList(
    model=Note,
    orderings={
        "-created_at": ("-created_at", "-id"),
        "created_at": ("created_at", "id"),
        "title": ("title", "id"),
        "-title": ("-title", "-id"),
    },
    fields={
        "id": "id",
        "title": "title",
        "body": "body",
        "owner": "owner_id",
        "published": "published",
        "version": "version",
        "created_at": "created_at",
        "updated_at": "updated_at",
    },
    filters={"title": PlainTextField(max_length=TITLE_LENGTH, help_text="Notes with exactly this title.")},
)

REMARKS = KeysetList(
    model=Remark,
    orderings={"-created_at": ("-created_at", "-id"), "created_at": ("created_at", "id")},
    fields={"id": "id", "note": "note_id", "text": "text", "owner": "owner_id", "created_at": "created_at"},
    scope=("note",),
)
