"""validation, attacked by hypothesis on every operation there is: no input is a 5xx, what is stored is clean.

Operations, objects and bodies come from the tables and scenarios of the apps (``tests.access``) and from the OpenAPI document, so
that an app that is added is attacked too.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.accounts.models import User
from tests.access import Row, address, document, encoded, operations, rows, scenarios, undone
from tests.apps.accounts.factories import bearer, user_create

pytestmark = pytest.mark.django_db

ON_ANY = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
EXAMPLES = 120

# What somebody found out to be trouble somewhere.
TROUBLE = (
    "", " ", "\x00", "\ud800", "a\u202eb", "e\u0301", "\u212b", "\u0130\u0307", "\ufb01", "\u200b", "\u2028",
    "\x1b[31m", "\r\nSet-Cookie: a=b",
    "<script>alert(1)</script>", "<p>a<b>c", "&#0;", "&#x202e;", "' OR 1=1 --", "%00", "%ff",
    "%ed%a0%80", "../../etc/passwd", "{{7*7}}",
    "=cmd|' /C calc'!A0", "NaN", "Infinity", "-0", "1e400", "1e-400", "9" * 30, "-9223372036854775809",
    "\u0661\u0662", "1_000", "0x10",
    "0000-01-01", "10000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2024-02-30", "2024-W01-1",
    "2024-01-01T00:00:60Z", "2024-01-01T00:00:00.1234567891Z", "{01890000-0000-7000-8000-000000000000}", "a@\u202eb.example",
    "urn:uuid:01890000-0000-7000-8000-000000000000", "01890000-0000-7000-8000-000000000000",
    "somebody@example.com", "a" * 300, "\u0338" * 40,
)  # fmt: skip
PLAIN = ("a title", "e\u0301te\u0301", "<b>bold</b> text", "true", "1", "2024-01-01T00:00:00Z", "one-word")

TEXT = st.sampled_from(TROUBLE) | st.sampled_from(PLAIN) | st.text(max_size=20)
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**30, -(2**63) - 1, 2**31, 1e300])
    | TEXT
)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
HEADER_NAMES = (
    "Accept", "Accept-Language", "Authorization", "Content-Encoding", "Cookie", "Idempotency-Key", "If-Match", "If-None-Match",
    "Origin", "If-Modified-Since", "Range", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-ID", "X-CSRFToken",
    "User-Agent", "traceparent",
)  # fmt: skip
# A header arrives as Latin-1 text without line breaks (RFC 9110, section 5.5; PEP 3333).
HEADER = st.text(
    st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=40
) | st.sampled_from(
    [
        "*/*;q=x",
        ";;;",
        "a/b;q=1e400",
        'W/"1.x"',
        '"',
        '"9999999999999999999999.x"',
        "Bearer " + "a" * 300,
        "bytes=0-,-1",
        ", ,",
        "access=a; access=b",
    ]
)


def _named(kind: str) -> dict[str, Row]:
    """Return the operations of the document that have a row, by id; prefer a row with an object."""
    writes = kind == "write"
    return {
        row.operation: row
        for row in sorted(rows(), key=lambda row: row.on is not None)
        if row.operation and (row.method == "GET") != writes and (row.method, row.path) in operations()
    }


def _resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference into the document."""
    while "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _names(row: Row) -> tuple[list[str], bool]:
    """Return the names that an operation's body may have, and whether it is a form."""
    content = operations()[row.method, row.path].get("requestBody", {}).get("content", {})
    media = next(iter(content), "application/json")
    schema = _resolved(content.get(media, {}).get("schema", {}))
    return sorted(schema.get("properties", {})), media == "multipart/form-data"


def _thing(row: Row, owner: User) -> models.Model | None:
    return scenarios()[row.app].objects[row.on](owner) if row.on else None


@pytest.fixture
def owner() -> User:
    return user_create(is_staff=True, is_superuser=True)


def _no_failure(response: Any, *what: Any) -> None:
    assert response.status_code < 500, (response.status_code, *what, response.content[:500])
    if response.status_code >= 400:
        assert response.headers["Content-Type"] == "application/problem+json", what


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for part in pair for text in _texts(part))
    elif isinstance(value, (list, tuple)):
        yield from (text for part in value for text in _texts(part))


def _stored() -> Iterator[tuple[str, str]]:
    """Yield every text in our tables, with its column."""
    for model in apps.get_models():
        if not model.__module__.startswith(("apps.", "tests.")):
            continue
        kinds = (models.CharField, models.TextField, models.JSONField, ArrayField)
        columns = [field.attname for field in model._meta.concrete_fields if isinstance(field, kinds)]
        for row in model._base_manager.values(*columns) if columns else ():
            yield from ((f"{model.__name__}.{name}", text) for name in columns for text in _texts(row[name]))


def _require_clean(text: str, where: Any) -> None:
    """Fail for forbidden characters. They are listed here again, so that the code under test does not judge itself."""
    unclean = re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]", text)
    assert unclean is None, f"{where} holds {text!r}"


def _require_stored_clean() -> None:
    for column, text in _stored():
        _require_clean(text, column)
        assert unicodedata.is_normalized("NFC", text), f"{column} holds {text!r}, which is not in normal form C"


@given(data=st.data())
@settings(ON_ANY, max_examples=EXAMPLES)
def test_any_body_is_handled_and_stored_text_is_clean(data: st.DataObject, owner: User) -> None:
    """Known names with any values, one value of a body that works replaced by any, and documents of any shape."""
    row = data.draw(st.sampled_from(sorted(_named("write").values(), key=str)))
    names, is_form = _names(row)
    with undone():
        known = dict.fromkeys(names, VALUE)
        body: Any = data.draw(st.fixed_dictionaries({}, optional=known) | VALUE)
        working = scenarios()[row.app].body(row.operation, owner)
        if working and data.draw(st.booleans()):
            body = {**working, data.draw(st.sampled_from(names)): data.draw(VALUE)} if names else working
        if is_form:
            fields = body if isinstance(body, dict) else {"file": data.draw(st.binary(max_size=60))}
            body = {str(name).encode("utf-8", "replace").decode(): _form_value(value) for name, value in fields.items()}
            sent = encoded(body, content_type="multipart/form-data")
        else:
            sent = {"data": json.dumps(body).encode(), "content_type": "application/json"}
        response = Client(raise_request_exception=False).generic(
            row.method, address(row.path, _thing(row, owner)), **sent, **bearer(owner)
        )
        _no_failure(response, row, body)
        if response.status_code < 300:
            _require_stored_clean()
            for text in _texts(response.json() if response.content else None):
                _require_clean(text, row)


def _form_value(value: Any) -> str | bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace").decode()


@given(data=st.data())
@settings(ON_ANY, max_examples=EXAMPLES // 3)
def test_any_bytes_are_handled(data: st.DataObject, owner: User) -> None:
    """Bodies that are no document at all, under any content type."""
    row = data.draw(st.sampled_from(sorted(_named("write").values(), key=str)))
    types = [
        "application/json",
        "application/json; charset=utf-16",
        "multipart/form-data; boundary=b",
        "multipart/form-data",
        "text/csv",
        ";",
        "a",
    ]
    content_type = data.draw(st.sampled_from(types) | HEADER)
    body = data.draw(
        st.binary(max_size=60)
        | st.sampled_from(
            [
                b'{"a":' * 500,
                b"--b\r\n\r\n--b--",
                b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\xff\r\n--b--',
            ]
        )
    )
    with undone():
        client = Client(raise_request_exception=False)
        response = client.generic(
            row.method, address(row.path, _thing(row, owner)), body, content_type=content_type, **bearer(owner)
        )
        _no_failure(response, row, content_type, body)


@given(data=st.data())
@settings(ON_ANY, max_examples=EXAMPLES)
def test_any_query_is_handled(data: st.DataObject, owner: User) -> None:
    row = data.draw(st.sampled_from(sorted(_named("read").values(), key=str)))
    declared = [one["name"] for one in operations()[row.method, row.path].get("parameters", []) if one["in"] == "query"]
    names = st.sampled_from(declared) | TEXT if declared else TEXT
    pairs = data.draw(st.lists(st.tuples(names, TEXT), min_size=1, max_size=3))
    query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in pairs)
    query = data.draw(st.just(query) | st.sampled_from(["%", "&&&", "=", "a=%FF", "%00=1", "a" * 3000, "\xff\xfe"]))
    with undone():
        client = Client(raise_request_exception=False)
        response = client.generic("GET", address(row.path, _thing(row, owner)), QUERY_STRING=query, **bearer(owner))
        _no_failure(response, row, query)


@given(data=st.data())
@settings(ON_ANY, max_examples=EXAMPLES)
def test_any_header_is_handled_and_stored_clean(data: st.DataObject, owner: User) -> None:
    row = data.draw(st.sampled_from(sorted([*_named("read").values(), *_named("write").values()], key=str)))
    headers = data.draw(st.dictionaries(st.sampled_from(HEADER_NAMES), HEADER, min_size=1, max_size=3))
    with undone():
        working = scenarios()[row.app].body(row.operation, owner)
        sent = encoded(working, content_type="application/json") if working and not _names(row)[1] else {}
        given = {
            **bearer(owner),
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
        }
        response = Client(raise_request_exception=False).generic(
            row.method, address(row.path, _thing(row, owner)), **sent, **given
        )
        _no_failure(response, row, headers)
        _require_stored_clean()


@given(path=st.lists(TEXT, min_size=1, max_size=4).map("/".join))
@settings(ON_ANY, max_examples=EXAMPLES // 3)
def test_any_path_is_handled(path: str) -> None:
    for start in ("/", "/api/v1/"):
        raw = (start + path).encode("utf-8", "surrogatepass").decode("latin-1")
        response = Client(raise_request_exception=False).generic(
            "GET", "/", PATH_INFO=raw, HTTP_ACCEPT="application/json"
        )
        _no_failure(response, raw)


def _quoted(text: str) -> str:
    """Percent-encode every byte, also those of a lone surrogate."""
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("unclean", ["a\u202eb", "\x00", "\ud800", "\x1b[31m", "e\u0301\u212b"])
def test_unclean_text_is_never_stored(unclean: str, owner: User) -> None:
    """Every operation, every text in the body that its scenario gives, one at a time."""
    for row in _named("write").values():
        working = scenarios()[row.app].body(row.operation, owner) or {}
        for name in (name for name, value in working.items() if isinstance(value, str)):
            body = {**working, name: f"{working[name]}{unclean}"}
            with undone():
                sent = {"data": json.dumps(body, default=str).encode(), "content_type": "application/json"}
                client = Client(raise_request_exception=False)
                path = address(row.path, _thing(row, owner))
                _no_failure(client.generic(row.method, path, **sent, **bearer(owner)), row, body)
                _require_stored_clean()
