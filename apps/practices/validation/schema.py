"""Bounds of every string, list and number in OpenAPI, also where a serializer declares none.

They are the bounds that the layers around the views enforce: no text is longer than the largest body or contains NUL, no
document has more members than allowed, and an integer fits PostgreSQL's bigint.

Patterns of clean text are regular expressions of JSON Schema (ECMA-262): allowed characters, and at least one visible. They agree
with `text.clean_plain`, which strips white space first. They do not express the normal form, the number of combining marks in a
row, or what is visible beyond the first plane.
"""

from collections.abc import Callable
from copy import copy
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from apps.practices.validation.fields import CleanSlugField, EmailAddressField, PlainTextField, RichTextField

_SPACE = r"\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # what str.strip() removes
_UNSEEN = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2065\u206a-\u206f\u2800\u3164\ufe00-\ufe0f"
    r"\ufeff\uffa0"
)
_CONTROL = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069"  # in no text
_BREAK = r"\t\n\r\u2028\u2029"  # not in text of one line

_NO_NUL = r"^[^\u0000]*$"
_NOT_BLANK = rf"^[^\u0000]*[^\u0000{_SPACE}][^\u0000]*$"
# The letters, digits and signs of a dot-string (RFC 5321, 4.1.2), and a domain of two labels or more.
_EMAIL = (
    r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,62})*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])$"
)
# The most common signs, of Latin-1 and general punctuation. `slugs` checks the letters and marks of every script.
_SIGNS = (
    r"!-,./:-@\[-^`{-~\u00a1-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7"
    r"\u200b\u200e-\u2027\u2030-\u205e\u2060-\u206f"
)
_SLUG = rf"^[{_SPACE}]*[^\s{_SIGNS}{_CONTROL}]+[{_SPACE}]*$"

_BIGINT = 2**63 - 1
_INT = 2**31 - 1
_PARAMETER = 1000  # characters of a query parameter or header; a request line has about four times as many
# Maximum length by format. RFC 3339 allows fractions of any length, but 40 digits are enough. The route limits the size of a
# file (413).
_LENGTH_BY_FORMAT = {
    "uuid": 36,
    "date-time": 64,
    "date": 10,
    "time": 32,
    "duration": 64,
    "email": 254,
    "decimal": 1000,
    "uri": 2048,
    "binary": _INT,
}


def _text_pattern(*, multiline: bool, blank: bool, without: str = "") -> str:
    """Return the pattern of clean text; ``without`` excludes further characters."""
    refused = _CONTROL + without + ("" if multiline else _BREAK)
    seen = "" if blank else rf"[\u0020{_UNSEEN}]*[^{refused}{_SPACE}{_UNSEEN}]"
    return rf"^[{_SPACE}]*{seen}[^{refused}]*[{_SPACE}]*$"


class TextExtension(OpenApiSerializerFieldExtension):
    """Adds the bounds of text fields. Importing this class registers it."""

    target_class = "rest_framework.serializers.CharField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        field = copy(self.target)
        field.allow_null = False  # the caller adds null to the result
        schema: dict[str, Any] = auto_schema._map_serializer_field(field, direction, bypass_extensions=True)
        return {**schema, **text_schema(self.target)} if direction == "request" else schema


def text_schema(field: Any) -> dict[str, Any]:
    """Return the JSON schema of a text in a request, except its type and length."""
    if not isinstance(field, serializers.CharField):
        return {}
    schema: dict[str, Any] = {} if field.allow_blank else {"minLength": 1}
    pattern = _pattern(field)
    return schema | ({"pattern": pattern} if pattern else {}) | getattr(field, "json_schema", {})


def _pattern(field: serializers.CharField) -> str | None:
    match field:
        case PlainTextField():
            return _text_pattern(multiline=field.multiline, blank=field.allow_blank, without=field.refused)
        case RichTextField():
            return _text_pattern(multiline=True, blank=field.allow_blank)
        case CleanSlugField():
            return _SLUG
        case EmailAddressField():
            return _EMAIL
    trimmed = type(field) is serializers.CharField and field.trim_whitespace and not field.allow_blank
    return _NOT_BLANK if trimmed else None


class _BodySchema(AutoSchema):
    """Describes the body of a DELETE as that of a POST, since drf-spectacular omits it."""

    def _get_request_body(self, direction: str = "request") -> Any:
        method, self.method = self.method, "POST"
        try:
            return super()._get_request_body(direction)
        finally:
            self.method = method


def delete_with_body(view: Callable[..., Any]) -> Callable[..., Any]:
    """Describe the body of a DELETE in OpenAPI (below ``@extend_schema(request=…)``).

    RFC 9110, section 9.3.5, gives it no meaning in general, so the document must.
    """
    view.kwargs = {"schema": _BodySchema}  # type: ignore[attr-defined]  # drf-spectacular looks for the class here
    return view


def describe_bounds(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add bounds to every schema, and forbid undeclared members in bodies (postprocessing hook of drf-spectacular).

    Bounds of serializers are kept. The schema of a file in a response is empty, since it is not JSON (OpenAPI 3.1.1,
    section 4.17.1).
    """
    for operation in _operations(result):
        for parameter in operation.get("parameters", ()):
            schema = parameter.get("schema", {})
            if schema.get("type") == "string" and not {"enum", "format"} & schema.keys():
                schema.setdefault("maxLength", _PARAMETER)
        for response in operation["responses"].values():
            for media in response.get("content", {}).values():
                if media.get("schema", {}).get("format") == "binary":
                    media["schema"] = {}
    for name, schema in result.get("components", {}).get("schemas", {}).items():
        if name.endswith("Request") and schema.get("type") == "object":
            schema.setdefault("additionalProperties", False)
    _bound(result.get("paths", {}))
    _bound(result.get("components", {}))
    return result


def _operations(result: dict[str, Any]) -> list[dict[str, Any]]:
    items = [one for path in result.get("paths", {}).values() for one in path.values()]
    return [one for one in items if isinstance(one, dict) and "responses" in one]


def _bound(node: Any) -> None:
    """Add missing bounds to every schema in the document."""
    if isinstance(node, list):
        for child in node:
            _bound(child)
    elif isinstance(node, dict):
        kinds = node.get("type")
        _bound_schema(node, set(kinds if isinstance(kinds, list) else [kinds] if isinstance(kinds, str) else []))
        for key, child in node.items():
            if key not in {"example", "examples", "default", "enum"}:
                _bound(child)


def _bound_schema(schema: dict[str, Any], kinds: set[str]) -> None:
    if {} in schema.get("oneOf", ()):  # "anything or null" would refuse null, which matches both
        del schema["oneOf"]
    if "string" in kinds and "enum" not in schema and "const" not in schema:
        form = schema.get("format", "")
        schema.setdefault("maxLength", _LENGTH_BY_FORMAT.get(form, settings.VALIDATION_BODY_BYTES))
        if not form:
            schema.setdefault("pattern", _NO_NUL)
    if "array" in kinds:
        schema.setdefault("maxItems", settings.VALIDATION_JSON_MEMBERS)
    if "integer" in kinds:
        schema.setdefault("minimum", -_BIGINT - 1)
        schema.setdefault("maximum", _BIGINT)
        small = schema["minimum"] >= -_INT - 1 and schema["maximum"] <= _INT
        schema.setdefault("format", "int32" if small else "int64")
