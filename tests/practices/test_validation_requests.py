"""validation, a request's frame: bounds by route, forms, content types, encodings, paths and numbers, over HTTP."""

import io
import json
from typing import Any

import pytest
from django.test import Client, RequestFactory
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

from apps.practices.errors import Malformed, ValidationProblem
from apps.practices.validation.bounds import Bounds, bound_of
from apps.practices.validation.middleware import RequestBoundsMiddleware
from apps.practices.validation.parsers import BoundedMultiPartParser
from tests.apps.accounts.factories import bearer, user_create
from tests.problems import assert_problem
from tests.sample.models import Note
from tests.sample.views import NoteCounts

NOTES = "/api/v1/sample/notes"
COUNTS = f"{NOTES}/counts"
MEBIBYTE = 1024 * 1024

pytestmark = pytest.mark.django_db


def post(path: str, body: bytes, content_type: str = "application/json", **extra: Any) -> Any:
    headers = bearer(user_create())
    return Client().generic("POST", path, body, content_type=content_type, **{**headers, **extra})


def padded(size: int) -> bytes:
    return json.dumps({"seconds": 0}).encode().ljust(size)


def test_bounds_differ_by_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoteCounts, "bounds", Bounds(body_bytes=100, json_depth=2, json_members=5))
    assert post(COUNTS, padded(100)).status_code == 202
    assert_problem(post(COUNTS, padded(101)), 413, "body-too-large")
    assert_problem(post(COUNTS, b'{"seconds": [[0]]}'), 400, "malformed")
    assert_problem(post(COUNTS, b'{"seconds": [0, 0, 0, 0, 0]}'), 400, "malformed")
    assert_problem(post(NOTES, b'{"title": [0, 0, 0, [0, 0]]}'.ljust(200)), 400, "validation")
    assert_problem(post(NOTES, padded(MEBIBYTE + 1)), 413, "body-too-large")


def test_bounds_of_a_view_apply_before_its_body_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound, size in ((100, 101), (4 * MEBIBYTE, 10**12)):
        monkeypatch.setattr(NoteCounts, "bounds", Bounds(body_bytes=bound))
        request = RequestFactory().post(COUNTS, b"x", content_type="application/json")
        request.META |= {"CONTENT_LENGTH": str(size), "wsgi.input": io.BytesIO(b"x")}
        response = RequestBoundsMiddleware(lambda _: pytest.fail("a view was called"))(request)
        assert response.status_code == 413
    assert bound_of(NoteCounts, "body_bytes") == 4 * MEBIBYTE
    assert bound_of(None, "body_bytes") == MEBIBYTE


def part(name: str, value: str = "x", *, file: bool = False) -> bytes:
    named = f'; filename="{name}.csv"' if file else ""
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n{value}\r\n'.encode()


def form(*parts: bytes, bounds: Bounds | None = None) -> Any:
    request = RequestFactory().post("/", b"".join(parts) + b"--b--\r\n", content_type="multipart/form-data; boundary=b")
    view = type("View", (), {"bounds": bounds})()
    return Request(request, parsers=[BoundedMultiPartParser()], parser_context={"view": view}).data


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([part("a"), part("a")], "repeated"),
        ([part("a", file=True), part("a", file=True)], "repeated"),
        ([part("a"), part("a", file=True)], "repeated"),
        ([part("a", "x\x00y")], "nul"),
    ],
)
def test_repeated_and_unclean_form_fields_are_refused(parts: list[bytes], code: str) -> None:
    with pytest.raises(ValidationProblem) as refused:
        form(*parts)
    assert [(error.pointer, error.code) for error in refused.value.errors] == [("/a", code)]


def test_form_parts_are_bounded_by_view() -> None:
    bounds = Bounds(form_fields=2, files=1)
    assert set(form(part("a"), part("b"), part("c", file=True), bounds=bounds)) == {"a", "b", "c"}
    for parts in ([part("a"), part("b"), part("c")], [part("a", file=True), part("b", file=True)]):
        with pytest.raises(Malformed, match="2 fields and 1 files"):
            form(*parts, bounds=bounds)


def test_query_parameters_are_counted() -> None:
    response = Client().get(NOTES, QUERY_STRING="&".join(f"a{number}=1" for number in range(1_001)))
    assert_problem(response, 400, "too-many-fields")
    assert_problem(Client().get(f"{NOTES}?limit=1&limit=2"), 400, "validation", pointer="?limit")


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        ({"HTTP_CONTENT_ENCODING": "gzip"}, 415),
        ({"HTTP_CONTENT_ENCODING": "deflate, gzip"}, 415),
        ({"HTTP_CONTENT_ENCODING": "identity"}, 201),
        ({"content_type": "application/json; charset=iso-8859-1"}, 415),
        ({"content_type": "application/json; charset=UTF-8"}, 201),
        ({"content_type": "text/json"}, 415),
        ({"content_type": "*/*"}, 415),
        ({"content_type": "application/*; charset=utf-8"}, 415),
        ({"content_type": "application/merge-patch+json"}, 415),
        ({"content_type": "\x00"}, 415),
        ({"content_type": ""}, 415),
        ({"HTTP_ACCEPT": "application/xml"}, 406),
        ({"HTTP_ACCEPT": "application/json;q=0"}, 201),  # more than asked: the weight is not read, the type is
        ({"HTTP_ACCEPT": "*/*;q=nonsense"}, 201),
        ({"CONTENT_LENGTH": "1" * 30}, 400),
        ({"CONTENT_LENGTH": "+2"}, 400),
        ({"CONTENT_LENGTH": "\u0662"}, 400),
    ],
)
def test_content_type_decides_the_parser(extra: dict[str, str], status: int) -> None:
    response = post(NOTES, b'{"title": "a"}', **extra)
    assert response.status_code == status, response.content
    assert Note.objects.exists() is (status == 201)


@pytest.mark.parametrize(
    ("path", "status", "type"),
    [("\x00", 400, "malformed"), *((path, 404, "not-found") for path in ("\xed\xa0\x80", "\xff", "\xc3(", "\xc0\xaf"))],
)
def test_paths_must_be_utf8(path: str, status: int, type: str) -> None:
    assert_problem(Client().generic("GET", "/", PATH_INFO=f"/api/v1/sample/notes/{path}"), status, type)


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "1e400", "", "1,5", "x"])
def test_numbers_in_queries_are_strict(seconds: str) -> None:
    """NaN is neither below a bound nor above one; what it reached would fail."""
    response = Client().get(f"{NOTES}/busy", {"seconds": seconds})
    assert_problem(response, 400, "validation", pointer="?seconds")


def test_stock_parser_accepts_what_the_bounded_one_refuses() -> None:
    """Show why the parsers exist: Django REST framework's own silently keeps the last of two equal names."""
    request = RequestFactory().post("/", b'{"a": 1, "a": 2}', content_type="application/json")
    assert Request(request, parsers=[JSONParser()]).data == {"a": 2}
