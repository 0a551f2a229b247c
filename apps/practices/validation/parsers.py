"""Parsers with bounds, which refuse documents that two parsers could read differently.

The JSON parser of the standard library is used instead of orjson, because orjson silently keeps the last of two equal names
(RFC 8259, section 4, calls the outcome unpredictable), so that two systems could read different values. For bodies of up to
1 MiB the difference in speed does not matter.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.http import QueryDict
from rest_framework import parsers

from apps.practices.errors import BodyTooLarge, FieldError, Malformed, UnsupportedMediaType, ValidationProblem
from apps.practices.validation.bounds import bound_of
from apps.practices.validation.text import Fault, text_fault

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)

# The path to a value: the trail of its container, and its name. A linked list, since full pointers would copy a long name for
# each member of its container.
_Trail = tuple[Any, Any] | None


class _Refused(ValueError):
    """A reason to refuse a document, as text for the client."""


class Bounded:
    """A marker of parsers whose work is limited by the limited size of the body."""


class BoundedJSONParser(Bounded, parsers.JSONParser):
    """JSON (RFC 8259) in UTF-8, with limits, and without duplicate names, NaN or infinity.

    The limits are in the view's ``Bounds`` or in the settings. Raises ``Malformed`` (400), or ``ValidationProblem`` (400) that
    points to a string with a NUL or a lone surrogate.
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        _require_utf8(media_type)
        view = (parser_context or {}).get("view")
        bound = bound_of(view, "body_bytes")
        body = stream.read(bound + 1)
        if len(body) > bound:
            raise BodyTooLarge()
        if not body:  # chunked and empty: the same as no body
            return {}
        return json_bounded(body, depth=bound_of(view, "json_depth"), members=bound_of(view, "json_members"))


class BoundedMultiPartParser(Bounded, parsers.MultiPartParser):
    """A multipart form in UTF-8, each name once. Fields and files are counted; files beyond a size go to disk.

    Raises ``Malformed`` (400) that names a field whose text is not UTF-8, or contains the replacement character that decoders
    insert for it, and ``ValidationProblem`` (400) that points to a field that is repeated (``repeated``), since parsers differ
    in which value they use, or that contains a NUL (``nul``).
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        _require_utf8(media_type)
        form = super().parse(stream, media_type, parser_context)
        view = (parser_context or {}).get("view")
        fields, files = bound_of(view, "form_fields"), bound_of(view, "files")
        if len(form.data) > fields or len(form.files) > files:
            raise Malformed(f"The maximum here is {fields} fields and {files} files.")
        _require_text_fields(form.data)
        for name in form.files:
            if len(form.files.getlist(name)) > 1 or name in form.data:
                raise ValidationProblem(
                    errors=[FieldError(f"/{name[:100]}", "repeated", "This field is repeated. Send it once.")]
                )
        return form


def json_bounded(body: bytes, *, depth: int, members: int) -> Any:
    """Return a JSON document with at most so many levels and members; raise ``Malformed`` or ``ValidationProblem``.

    A NUL or a lone surrogate can only be an escape (raw ones are not JSON or not UTF-8), so strings are only checked if
    there is one.
    """
    document = json_document(body)
    opened = body.count(b"{") + body.count(b"[")
    escapes = b"\\u" in body
    if escapes or opened > depth or opened + body.count(b",") > members:
        _require_bounds(document, depth=depth, members=members, escapes=escapes)
    return document


def json_document(body: bytes) -> Any:
    """Return a JSON document; raise ``Malformed`` with the position of the error."""
    try:
        return _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Malformed(f"The document is not valid UTF-8 (byte {error.start}).") from error
    except json.JSONDecodeError as error:
        raise Malformed(f"Invalid JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from error
    except RecursionError as error:
        raise Malformed("The document is nested too deeply.") from error
    except _Refused as error:
        raise Malformed(f"Invalid JSON: {error}.") from error
    except ValueError as error:  # the interpreter's own limit of digits, whose message is for programmers
        raise Malformed("Invalid JSON: a number has too many digits.") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise _Refused(f"the name {json.dumps(twice[:100])} occurs twice in one object")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _Refused("a number is too large")
    return number


# Made once: `json.loads` makes a decoder for every document.
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite)


def _require_bounds(document: Any, *, depth: int, members: int, escapes: bool) -> None:
    """Check depth and number of members without recursion, and with ``escapes`` the strings; raise as `json_bounded`."""
    found = at = 0
    level: list[tuple[_Trail, Any]] = [(None, document)]
    while level:
        at += 1
        if at > depth and any(isinstance(value, (dict, list)) for _, value in level):
            raise Malformed(f"The document is nested deeper than {depth} levels.")
        below: list[tuple[_Trail, Any]] = []
        for trail, value in level:
            children = _children(value)
            found += len(children)
            if found > members:
                raise Malformed(f"The document has more than {members} members.")
            if escapes:
                _require_text(trail, value)
            below += [((trail, name), child) for name, child in children if escapes or isinstance(child, (dict, list))]
        level = below


def _children(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _pointer(trail: _Trail) -> str:
    names: list[str] = []
    while trail is not None:
        trail, name = trail
        names.append(f"/{name}")
    return "".join(reversed(names))


def _require_text(trail: _Trail, value: Any) -> None:
    """Raise ``ValidationProblem`` if a string, or a name of an object, has a NUL or a lone surrogate."""
    for text in [value] if isinstance(value, str) else list(value) if isinstance(value, dict) else []:
        fault = text_fault(text)
        if fault:
            raise ValidationProblem(errors=[FieldError(_pointer(trail), *fault)])


def _require_text_fields(form: QueryDict) -> None:
    """Raise for repeated fields of a form, and for fields that are not text."""
    for name, values in form.lists():
        if any("\ufffd" in text for text in (name, *values)):
            raise Malformed(f"The field {json.dumps(name[:100])} is not valid UTF-8.")
        fault = next(filter(None, map(text_fault, (name, *values))), None)
        if len(values) > 1:
            fault = Fault("repeated", "This field is repeated. Send it once.")
        if fault:
            raise ValidationProblem(errors=[FieldError(f"/{name[:100]}", *fault)])


def _require_utf8(media_type: str | None) -> None:
    """Raise ``UnsupportedMediaType`` if the Content-Type has another charset."""
    charset = _CHARSET.search(media_type or "")
    if charset and charset[1].lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType("The charset must be UTF-8.")
