"""Parsers that bound what they build, and refuse documents of which two readers could think differently.

The standard library's JSON scanner is used rather than orjson: orjson keeps the last of two equal names without a
word (RFC 8259, section 4, calls the outcome unpredictable), and that is how two systems come to read two things in
one document. On bodies of at most a mebibyte the difference in speed does not show.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import IO, Any, NoReturn

from django.http import QueryDict
from rest_framework import parsers

from apps.practices.errors import BodyTooLarge, FieldError, Malformed, UnsupportedMediaType, ValidationProblem
from apps.practices.validation.bounds import Allowed, allowed_by
from apps.practices.validation.text import text_fault

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)

# The way to a value: the container's own trail and the name within it. Linked, since pointers written out for every value
# would copy a long name as often as its container has members.
_Trail = tuple[Any, Any] | None


class _Doubtful(ValueError):
    """What we refuse in a document, in words for its sender."""


class Bounded:
    """Marks a parser whose work is bounded by the size of a body that is bounded itself."""


class BoundedJSONParser(Bounded, parsers.JSONParser):
    """JSON (RFC 8259) in UTF-8: no duplicate names, no NaN or infinity, nothing too deep or too many.

    The view's ``Bounds`` say how much that is, else the settings. Raises ``Malformed`` (400), or ``ValidationProblem`` (400)
    naming the member that holds a NUL or a lone surrogate.
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        _require_utf8(media_type)
        allowed = _allowed(parser_context)
        body = stream.read(allowed.body_bytes + 1)
        if len(body) > allowed.body_bytes:
            raise BodyTooLarge()
        if not body:  # chunked, and no chunk came: the same as no body at all
            return {}
        return json_bounded(body, depth=allowed.json_depth, members=allowed.json_members)


class BoundedMultiPartParser(Bounded, parsers.MultiPartParser):
    """A multipart form in UTF-8, each name once. Fields and files are counted; files beyond a size go to disk.

    Raises ``Malformed`` (400) naming a field whose text is not UTF-8, or holds the replacement character that decoders
    write in its place, and ``ValidationProblem`` (400) naming one that is there twice (``repeated``) or holds a NUL (``nul``):
    of two values, two readers could take different ones.
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        _require_utf8(media_type)
        form = super().parse(stream, media_type, parser_context)
        allowed = _allowed(parser_context)
        if len(form.data) > allowed.form_fields or len(form.files) > allowed.files:
            raise Malformed(f"At most {allowed.form_fields} fields and {allowed.files} files are accepted here.")
        _require_text_fields(form.data)
        for name in form.files:
            if len(form.files.getlist(name)) > 1 or name in form.data:
                raise ValidationProblem(errors=[FieldError(f"/{name[:100]}", "repeated", "Give this field once.")])
        return form


def json_bounded(body: bytes, *, depth: int, members: int) -> Any:
    """Read one JSON document of at most so many levels and members; raise ``Malformed`` or ``ValidationProblem``.

    Only an escape can smuggle in a NUL or a lone surrogate (raw ones are no JSON, no UTF-8), so without any the strings
    are not looked at.
    """
    document = json_document(body)
    _require_bounds(document, depth=depth, members=members, escapes=b"\\u" in body)
    return document


def json_document(body: bytes) -> Any:
    """Read one JSON document; raise ``Malformed`` with the place where it stops being one."""
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise Malformed(f"The document is not UTF-8: byte {error.start}.") from error
    except json.JSONDecodeError as error:
        raise Malformed(f"The document is not JSON: {error.msg}, line {error.lineno}, column {error.colno}.") from error
    except RecursionError as error:
        raise Malformed("The document is nested too deep.") from error
    except _Doubtful as error:
        raise Malformed(f"The document is not acceptable JSON: {error}.") from error
    except ValueError as error:  # the interpreter's own bound; what it says of it is for programmers
        raise Malformed("The document is not acceptable JSON: a number has too many digits.") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Doubtful(f"the name {json.dumps(_twice(name for name, _ in pairs)[:100])} occurs twice in one object")
    return members


def _twice(names: Iterable[str]) -> str:
    """Give the first of ``names`` that has been there before."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    raise ValueError("no name occurs twice")


def _refuse_constant(name: str) -> NoReturn:
    raise _Doubtful(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _Doubtful("a number is too large")
    return number


def _require_bounds(document: Any, *, depth: int, members: int, escapes: bool) -> None:
    """Walk the document without recursion: depth, number of members, and with ``escapes`` strings that cannot be stored."""
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
    """Write a trail out, outermost name first."""
    names: list[str] = []
    while trail is not None:
        trail, name = trail
        names.append(f"/{name}")
    return "".join(reversed(names))


def _require_text(trail: _Trail, value: Any) -> None:
    """Raise ``ValidationProblem`` when the string, or a name of the object, holds what no string may."""
    for text in [value] if isinstance(value, str) else list(value) if isinstance(value, dict) else []:
        fault = text_fault(text)
        if fault:
            raise ValidationProblem(errors=[FieldError(_pointer(trail), *fault)])


def _require_text_fields(form: QueryDict) -> None:
    """Raise for fields of a form that are given twice, or are no text."""
    for name, values in form.lists():
        if any("\ufffd" in text for text in (name, *values)):
            raise Malformed(f"The field {json.dumps(name[:100])} is not UTF-8.")
        fault = next(filter(None, map(text_fault, (name, *values))), None)
        if len(values) > 1:
            fault = ("repeated", "Give this field once.")
        if fault:
            raise ValidationProblem(errors=[FieldError(f"/{name[:100]}", *fault)])


def _allowed(context: Mapping[str, Any] | None) -> Allowed:
    """Give the bounds of the view that a parser works for."""
    return allowed_by((context or {}).get("view"))


def _require_utf8(media_type: str | None) -> None:
    """Raise ``UnsupportedMediaType`` when the Content-Type names another charset."""
    charset = _CHARSET.search(media_type or "")
    if charset and charset[1].lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType("Only UTF-8 is accepted.")
