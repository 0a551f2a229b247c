"""Cursors: positions in an ordered list, as opaque signed strings.

A cursor contains the ordering values of one row and a direction. The signing key is derived from the list's path, filters and
ordering, so the signature of a changed cursor, or of one from another list, is invalid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import Field

MAX_LENGTH = 4_000  # characters; positions have some hundred bytes


class BadCursor(ValueError):
    """The string is not a cursor of this list: it was changed, truncated, or made for another list."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position between two rows.

    ``backward`` pages towards the start of the list. ``inclusive`` includes the row at the position itself, so that an empty
    page can lead back to it.
    """

    values: tuple[Any, ...]
    backward: bool = False
    inclusive: bool = False


def cursor_encode(cursor: Cursor, *, binding: str) -> str:
    """Return the signed string of ``cursor`` for the list with this ``binding``."""
    content = [int(cursor.backward), int(cursor.inclusive), *map(_plain, cursor.values)]
    return _signer(binding).sign_object(content)


def cursor_decode(text: str, *, binding: str, columns: Sequence[Field[Any, Any]]) -> Cursor:
    """Return the cursor that ``cursor_encode`` signed for ``binding``, with values of the types of ``columns``.

    Raises ``BadCursor`` for any other string.
    """
    if len(text) > MAX_LENGTH:
        raise BadCursor("too long")
    try:
        backward, inclusive, *values = _signer(binding).unsign_object(text)
        if len(values) != len(columns) or not all(isinstance(value, (str, int)) for value in values):
            raise BadCursor("made for other columns")
        typed = tuple(column.to_python(value) for column, value in zip(columns, values, strict=True))
    except (signing.BadSignature, ValidationError) as error:
        raise BadCursor("not made for this list") from error
    return Cursor(values=typed, backward=bool(backward), inclusive=bool(inclusive))


def _signer(binding: str) -> signing.Signer:
    """Return the signer of a list. It also accepts signatures by SECRET_KEY_FALLBACKS, so cursors survive a rotation."""
    return signing.Signer(salt=f"database.cursor:{binding}", sep=".")


def _plain(value: Any) -> str | int:
    """Return the JSON form of a column's value, from which ``Field.to_python`` returns the same value."""
    if isinstance(value, (str, int)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
