"""JSON out, rendered once by orjson: the bytes that are hashed for an ETag, stored and sent."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson
from django.utils.encoding import force_str
from django.utils.functional import Promise
from rest_framework.renderers import BaseRenderer

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC


def json_bytes(data: object) -> bytes:
    """``data`` as UTF-8 JSON (RFC 8259); times are RFC 3339 in UTC with Z, UUIDs and Decimals are strings."""
    written = orjson.dumps(data, default=_plain, option=_OPTIONS)
    # orjson gives the whole buffer that it wrote into, up to fourteen times what it wrote: whoever keeps it keeps all that.
    return bytes(memoryview(written))


def _plain(value: object) -> object:
    """What orjson does not know: lazy texts, decimals, byte strings, mappings and iterables of DRF's."""
    if isinstance(value, Promise):
        return force_str(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "__iter__"):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


class FastJSONRenderer(BaseRenderer):
    """DRF's JSON renderer on orjson."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else json_bytes(data)
