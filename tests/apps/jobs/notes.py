"""Notes of the sample app, for the tests of Idempotency-Key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.sample.models import Note

NOTES = "/api/v1/sample/notes"
COUNTS = f"{NOTES}/counts"
InTheView = Callable[[Callable[[], Any]], None]


def titles() -> list[str]:
    """Return the titles of all notes."""
    return list(Note.objects.values_list("title", flat=True))
