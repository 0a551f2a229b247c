"""What the walk over operations.txt acts on."""

from tests.sample.services import note_create

OBJECTS = {
    "published": lambda owner: note_create(owner=owner, title="Published"),
    "private": lambda owner: note_create(owner=owner, title="Private", published=False),
}
BODIES = {
    "sample_notes_create": {"title": "New", "body": "<p>New</p>"},
    "sample_notes_replace": {"title": "Replaced", "published": True},
    "sample_notes_update": {"title": "Changed"},
    "sample_notes_count": {"seconds": 0},
}
