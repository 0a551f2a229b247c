"""What the walk over operations.txt acts on."""

from tests.sample.services import note_create

OBJECTS = {
    "published": lambda owner: note_create(owner=owner, title="Published"),
    "private": lambda owner: note_create(owner=owner, title="Private", published=False),
}
BODIES = {
    "notes_create": {"title": "New", "body": "<p>New</p>"},
    "notes_replace": {"title": "Replaced", "published": True},
    "notes_update": {"title": "Changed"},
    "notes_count": {"seconds": 0},
}
