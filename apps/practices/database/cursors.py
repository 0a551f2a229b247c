"""Positions in an ordered list, as opaque strings that only this service can make.

A cursor carries the ordering values of one row and a direction. It is signed with a key made from the
list's path, filters and ordering, so one that was changed, or that is used on another list, fails its
signature: nothing about the binding has to be stored in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import Field

MAX_LENGTH = 4_000  # characters; a position of some hundred bytes fits many times


class BadCursor(ValueError):
    """The string is no cursor of this list: changed, made for another one, or cut."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position between two rows.

    ``backward`` pages towards the start of the list. ``inclusive`` lets the row at the position itself
    in: it is how an empty page leads back to the row that it came from.
    """

    values: tuple[Any, ...]
    backward: bool = False
    inclusive: bool = False


def cursor_encode(cursor: Cursor, *, binding: str) -> str:
    """Give the signed string of ``cursor`` for the list that ``binding`` names."""
    content = [int(cursor.backward), int(cursor.inclusive), *map(_plain, cursor.values)]
    return _signer(binding).sign_object(content)


def cursor_decode(text: str, *, binding: str, columns: Sequence[Field[Any, Any]]) -> Cursor:
    """Read the string that ``cursor_encode`` made for ``binding``, its values typed by ``columns``.

    Raises ``BadCursor`` for every other string.
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
    """Make the signer of one list; keys in SECRET_KEY_FALLBACKS still verify, so a rotation breaks no page."""
    return signing.Signer(salt=f"database.cursor:{binding}", sep=".")


def _plain(value: Any) -> str | int:
    """Give the JSON form of a column's value that ``Field.to_python`` reads back exactly."""
    if isinstance(value, (str, int)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
