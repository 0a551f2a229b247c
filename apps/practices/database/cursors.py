"""Cursors: positions in an ordered list, as opaque signed strings.

A cursor contains the ordering values of one row and a direction. The signing key is derived from the list's path, filters and
ordering, so the signature of a changed cursor, or of one from another list, is invalid.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Field

MAX_LENGTH = 4_000  # characters; positions have some hundred bytes
_KEPT_LENGTH = 500  # characters of a binding, which has the texts of filters, whose key is kept


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
    text = _base64(_json(content).encode())
    return f"{text}.{_signature(text, _key(binding, settings.SECRET_KEY))}"


def cursor_decode(text: str, *, binding: str, columns: "Sequence[Field[Any, Any]]") -> Cursor:
    """Return the cursor that ``cursor_encode`` signed for ``binding``, with values of the types of ``columns``.

    Signatures by SECRET_KEY_FALLBACKS are accepted, so cursors survive a rotation. Raises ``BadCursor`` for any other string.
    """
    content, _, signature = text.rpartition(".")
    if len(text) > MAX_LENGTH or not text.isascii():
        raise BadCursor("too long, or not base64")
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    if not any(hmac.compare_digest(signature, _signature(content, _key(binding, secret))) for secret in secrets):
        raise BadCursor("not made for this list")
    backward, inclusive, *values = json.loads(urlsafe_b64decode(content + "=" * (-len(content) % 4)))
    if len(values) != len(columns) or not all(isinstance(value, (str, int)) for value in values):
        raise BadCursor("made for other columns")
    try:
        typed = tuple([column.to_python(value) for column, value in zip(columns, values, strict=True)])
    except ValidationError as error:
        raise BadCursor("made for other columns") from error
    return Cursor(values=typed, backward=bool(backward), inclusive=bool(inclusive))


# The signatures are those of Django's Signer, whose key does not depend on what is signed.


def _key(binding: str, secret: str) -> bytes:
    return _kept_key(binding, secret) if len(binding) <= _KEPT_LENGTH else _kept_key.__wrapped__(binding, secret)


@lru_cache(maxsize=1024)
def _kept_key(binding: str, secret: str) -> bytes:
    return sha256(f"database.cursor:{binding}signer{secret}".encode()).digest()


def _signature(text: str, key: bytes) -> str:
    # hmac.digest() takes more than twice as long: it looks the algorithm up in OpenSSL 3 at each call.
    return _base64(hmac.new(key, text.encode(), "sha256").digest())


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


_json = json.JSONEncoder(separators=(",", ":")).encode


def _plain(value: Any) -> str | int:
    """Return the JSON form of a column's value, from which ``Field.to_python`` returns the same value."""
    if isinstance(value, (str, int)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
