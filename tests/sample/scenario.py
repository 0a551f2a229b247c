"""The objects and bodies for tests/test_access.py, which tries every operation in operations.txt."""

from tests.sample.services import note_create, remark_create

OBJECTS = {
    "published": lambda owner: note_create(owner=owner, title="Published"),
    "private": lambda owner: note_create(owner=owner, title="Private", published=False),
    "remark": lambda owner: remark_create(
        owner=owner, note=note_create(owner=owner, title="Private", published=False), text="One"
    ),
}
BODIES = {
    "sample_remarks_create": lambda owner: {
        "note": str(note_create(owner=owner, title="Private", published=False).pk),
        "text": "New",
    },
    "sample_notes_create": {"title": "New", "body": "<p>New</p>"},
    "sample_notes_replace": {"title": "Replaced", "published": True},
    "sample_notes_update": {"title": "Changed"},
    "sample_notes_count": {"seconds": 0},
}
