"""validation from outside: what clients may send, and the errors for everything else."""

import contextlib
import http.client
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import TooManyFieldsSent
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings
from gunicorn.config import Config
from gunicorn.http import message
from gunicorn.http.unreader import IterUnreader
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.practices.errors import BodyTooLarge, Malformed, UnsupportedMediaType, ValidationProblem
from apps.practices.validation.fields import PlainTextField, RichTextField
from apps.practices.validation.middleware import BodyMiddleware, RequestBoundsMiddleware
from apps.practices.validation.parsers import BoundedJSONParser, BoundedMultiPartParser, json_document
from apps.practices.validation.query import query_parameters
from apps.practices.validation.serializers import StrictSerializer
from tests.problems import assert_problem
from tests.sample.models import Note
from tools.fleet import Fleet

NOTES = "/api/v1/sample/notes"


@pytest.fixture
def owner(db: None) -> APIClient:
    client = APIClient()
    client.force_authenticate(User.objects.create(email="owner@example.com"))
    return client


def post(client: APIClient, body: str | bytes, content_type: str = "application/json", **extra: Any) -> Any:
    return client.generic("POST", NOTES, body, content_type=content_type, **extra)


def errors(response: Any) -> set[tuple[str, str]]:
    return {(error["pointer"], error["code"]) for error in response.json()["errors"]}


# --- strict serializers


def test_unknown_and_read_only_fields_are_refused(owner: APIClient) -> None:
    response = post(owner, json.dumps({"title": "a", "colour": "red", "id": "x", "owner": "y"}))
    assert_problem(response, 400, "validation")
    assert errors(response) == {("/colour", "unknown"), ("/id", "unknown"), ("/owner", "unknown")}
    assert not Note.objects.exists()


def test_nested_unknown_fields_are_refused_with_other_errors() -> None:
    class Inner(StrictSerializer):
        name = serializers.CharField()
        made = serializers.DateTimeField(read_only=True)

    class Outer(StrictSerializer):
        inner = Inner(many=True)
        size = serializers.IntegerField()

    serializer = Outer(data={"inner": [{"name": "a"}, {"name": "b", "made": "now", "x": 1}], "size": "big", "y": 2})
    assert not serializer.is_valid()
    codes = {field: error for field, error in serializer.errors.items() if field != "inner"}
    assert {field: [e.code for e in error] for field, error in codes.items()} == {"size": ["type"], "y": ["unknown"]}
    inner = serializer.errors["inner"]
    assert {field: error[0].code for field, error in inner[1].items()} == {"made": "read_only", "x": "unknown"}


def test_fields_store_clean_text(owner: APIClient) -> None:
    response = post(owner, json.dumps({"title": " e\u0301te\u0301 ", "body": "<p>a<script>x</script></p>"}))
    assert response.status_code == 201, response.content
    assert Note.objects.values_list("title", "body").get() == ("\u00e9t\u00e9", "<p>a</p>")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (r'{"title": "a\u0000b"}', ("/title", "nul")),
        (r'{"title": "a\ud800b"}', ("/title", "surrogate")),
        (r'{"title": "a\u202eb"}', ("/title", "bidi")),
        (r'{"title": "a\u0007b"}', ("/title", "control")),
        (r'{"title": "a", "body": "&#x202e;"}', ("/body", "bidi")),
        (r'{"title": "a", "x\u0000": 1}', ("", "nul")),
        ('{"title": "%s"}' % ("x" * 201), ("/title", "max_length")),
        ('["title"]', ("", "invalid")),
        ('"title"', ("", "invalid")),
    ],
)
def test_unclean_text_is_refused_by_name(owner: APIClient, document: str, expected: tuple[str, str]) -> None:
    response = post(owner, document)
    assert_problem(response, 400, "validation")
    assert expected in errors(response)


def test_text_fields_require_max_length() -> None:
    for field in (PlainTextField, RichTextField):
        with pytest.raises(TypeError, match="max_length"):
            field()


# --- documents


@pytest.mark.parametrize(
    "document",
    [
        b"[" * 100_000,
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"title": "a", "title": "b"}',
        b'{"title": NaN}',
        b'{"title": -Infinity}',
        b'{"title": 1e999}',
        b'{"title": ' + b"9" * 5_000 + b"}",
        b'{"title": "\xff"}',
        b'\xef\xbb\xbf{"title": "a"}',
        b'{"title": "a"',
        b"{'title': 1}",
        json.dumps(list(range(20_001))).encode(),
    ],
    ids=lambda document: document[:24].decode("latin-1"),
)
def test_invalid_json_is_malformed(owner: APIClient, document: bytes) -> None:
    problem = assert_problem(post(owner, document), 400, "malformed")
    assert "sys." not in problem["detail"], "the interpreter speaks to a client"
    assert not Note.objects.exists()


def test_json_depth_up_to_the_bound_is_allowed(owner: APIClient) -> None:
    with override_settings(VALIDATION_JSON_DEPTH=3):
        assert_problem(post(owner, '{"title": [[1]]}'), 400, "validation")
        assert_problem(post(owner, '{"title": [[[1]]]}'), 400, "malformed")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=200)
@given(JSON)
def test_any_json_is_parsed_or_refused(document: Any) -> None:
    body = json.dumps(document).encode()
    try:
        parsed = BoundedJSONParser().parse(io.BytesIO(body))
    except (Malformed, ValidationProblem):
        return
    assert parsed == document


def test_json_deeper_than_the_recursion_limit_is_malformed() -> None:
    with pytest.raises(Malformed, match="nested too deep"):
        json_document(b"[" * 100_000)


@given(st.binary(max_size=80))
def test_any_bytes_are_parsed_or_malformed(body: bytes) -> None:
    with contextlib.suppress(Malformed):
        json_document(body)


# --- requests


def test_large_bodies_are_refused_before_they_are_read(owner: APIClient) -> None:
    with override_settings(VALIDATION_BODY_BYTES=100):
        assert_problem(post(owner, json.dumps({"title": "x" * 200})), 413, "body-too-large")
        assert post(owner, json.dumps({"title": "x"})).status_code == 201


@pytest.mark.parametrize(
    ("extra", "status", "type"),
    [
        ({"content_type": ""}, 415, "unsupported-media-type"),
        ({"content_type": "text/plain"}, 415, "unsupported-media-type"),
        ({"content_type": "application/x-www-form-urlencoded"}, 415, "unsupported-media-type"),
        ({"content_type": "application/json; charset=utf-16"}, 415, "unsupported-media-type"),
        ({"HTTP_CONTENT_ENCODING": "gzip"}, 415, "unsupported-media-type"),
        ({"HTTP_ACCEPT": "text/csv"}, 406, "not-acceptable"),
        ({"CONTENT_LENGTH": "-5"}, 400, "malformed"),
    ],
)
def test_content_type_and_encoding_are_checked(owner: APIClient, extra: dict[str, str], status: int, type: str) -> None:
    assert_problem(post(owner, '{"title": "a"}', **extra), status, type)
    assert not Note.objects.exists()


def test_charset_utf8_is_accepted(owner: APIClient) -> None:
    assert post(owner, '{"title": "é"}'.encode(), content_type='application/json; charset="UTF-8"').status_code == 201


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", [f"{NOTES}?title=a%00", f"{NOTES}?title=%ff", f"{NOTES}?title=%ed%a0%80", "/api/v1/no%00tes"]
)
def test_malformed_urls_are_refused(path: str) -> None:
    name, _, query = path.partition("?")
    assert_problem(Client().get(name.replace("%00", "\x00"), QUERY_STRING=query), 400, "malformed")


def test_chunked_bodies_are_bounded() -> None:
    seen = []
    middleware = BodyMiddleware(lambda request: seen.append(request.body))
    with override_settings(VALIDATION_BODY_BYTES=2_000):
        middleware(chunked_request(b"x" * 2_000))
        with pytest.raises(BodyTooLarge):
            middleware(chunked_request(b"x" * 3_000))
    assert seen == [b"x" * 2_000]


@override_settings(VALIDATION_BODY_BYTES=100)
@pytest.mark.parametrize(("size", "content_type", "status"), [(200, "text/csv", 413), (50, "", 415)])
def test_bounds_apply_before_any_view(size: int, content_type: str, status: int) -> None:
    """The bounds also apply to views without a parser, such as the admin's."""
    middleware = RequestBoundsMiddleware(lambda request: pytest.fail("a view was called"))
    response = middleware(RequestFactory().generic("POST", "/any", b"x" * size, content_type=content_type))
    assert response.status_code == status


def chunked_request(body: bytes) -> Any:
    """Return a request with a chunked body as a server passes it on: decoded, without a length, in short reads."""

    class Chunks(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(700 if size is None or size < 0 else min(size, 700))

    request = RequestFactory().post(NOTES, body, content_type="application/json", HTTP_TRANSFER_ENCODING="chunked")
    request.META |= {"CONTENT_LENGTH": "", "wsgi.input": Chunks(body)}
    return request


def form(body: bytes, content_type: str = "multipart/form-data; boundary=b") -> Any:
    """Return the data of a multipart form as a view for uploads gets it."""
    request = RequestFactory().post("/", body, content_type=content_type)
    return Request(request, parsers=[BoundedMultiPartParser()]).data


def part(name: str, value: bytes) -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)


def test_forms_must_be_utf8() -> None:
    assert form(part("a", "\u00e9".encode()) + b"--b--\r\n")["a"] == "\u00e9"
    with pytest.raises(Malformed, match='field "a" is not valid UTF-8'):
        form(part("a", b"\xff") + b"--b--\r\n")
    with pytest.raises(UnsupportedMediaType):
        form(part("a", b"x") + b"--b--\r\n", "multipart/form-data; boundary=b; charset=utf-16")
    with override_settings(DATA_UPLOAD_MAX_NUMBER_FIELDS=3), pytest.raises(TooManyFieldsSent):
        form(part("a", b"x") * 5 + b"--b--\r\n")


def test_query_parameters_are_declared_unique_and_valid() -> None:
    allowed = {"page": serializers.IntegerField(min_value=1), "name": PlainTextField(max_length=5)}
    get = RequestFactory().get
    assert query_parameters(get("/?page=2&name=%20a"), allowed) == {"page": 2, "name": "a"}
    assert query_parameters(get("/"), allowed) == {}
    with pytest.raises(ValidationProblem) as refused:
        query_parameters(get("/?page=0&name=a&name=b&colour=red"), allowed)
    assert {(e.pointer, e.code) for e in refused.value.errors} == {
        ("?page", "min_value"), ("?name", "repeated"), ("?colour", "unknown"),
    }  # fmt: skip


# --- system checks: each id, and that each is bound


@pytest.mark.parametrize(
    ("broken", "id"),
    [
        ({"VALIDATION_HTML_TAGS": {"p", "script"}}, "validation.E003"),
        ({"VALIDATION_HTML_ATTRIBUTES": {"p": {"onclick"}}}, "validation.E003"),
        ({"VALIDATION_URL_SCHEMES": {"javascript"}}, "validation.E003"),
    ],
)
def test_checks_find_mistakes(broken: dict[str, Any], id: str) -> None:
    assert not [message for message in run_checks(tags=["validation"]) if message.id == id]
    with override_settings(**broken):
        assert [message.id for message in run_checks(tags=["validation"])] == [id]
        with pytest.raises(CommandError, match=id):
            call_command("check", tags=["validation"])


def test_check_finds_unbounded_parsers(settings: Any) -> None:
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK,
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    }
    assert [message.id for message in run_checks(tags=["validation"])] == ["validation.E002"]


def body_of(megabytes: int, *, chunked: bool) -> bytes | Iterator[bytes]:
    """Return a body that http.client sends with its length, or in chunks."""
    return (b"x" * 1024 * 1024 for _ in range(megabytes)) if chunked else b"x" * megabytes * 1024 * 1024


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("path", "stated", "counted"), [(NOTES, 413, 401), (f"{NOTES}/counts", 401, 401), ("/api/v1/no/such", 413, 404)]
)
def test_response_to_an_unread_body_arrives(fleet: Fleet, path: str, stated: int, counted: int, chunked: bool) -> None:
    """Through the edge. A server that closed on the sender would make it a 502, and the rest of the body the next request."""
    connection = http.client.HTTPSConnection(fleet.url.partition("://")[2], timeout=30, context=fleet.ssl_context())
    with contextlib.closing(connection):
        for method, target, body, expected in (
            ("POST", path, body_of(3, chunked=chunked), counted if chunked else stated),
            ("GET", NOTES, None, 200),
        ):
            connection.request(method, target, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == expected


@pytest.mark.parametrize(("content_type", "status"), [("application/json", 400), ("", 415)])
@pytest.mark.parametrize(
    "sent", [b"20\r\n{}", b"2\r\n{}", b"2\r\n{}xx", b"2\r\n{}\r\n0\r\na b\r\n\r\n", b"-2\r\n", b"zz\r\n"]
)
def test_incomplete_chunks_are_malformed(sent: bytes, content_type: str, status: int) -> None:
    """Read by gunicorn's own reader, as it comes in or for a request that is refused before its body is looked at."""
    request = chunked_request(b"")
    head = b"POST / HTTP/1.1\r\nHost: testserver\r\nTransfer-Encoding: chunked\r\n\r\n"
    received = message.Request(Config(), IterUnreader([head, sent]), ("127.0.0.1", 1))
    request.META |= {"wsgi.input": received.body, "CONTENT_TYPE": content_type}
    middleware = BodyMiddleware(RequestBoundsMiddleware(lambda request: HttpResponse(request.body)))
    if status == 400:
        with pytest.raises(Malformed, match="The body ended early"):
            middleware(request)
    else:
        assert middleware(request).status_code == status
