"""errors: every failure is a problem document without internal details, and is logged once."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client, RequestFactory
from drf_spectacular.generators import SchemaGenerator
from rest_framework.exceptions import ErrorDetail

from apps.practices.errors import Conflict, FieldError, Problem, problem_response, problem_types
from apps.practices.errors import problems as declared
from apps.practices.errors.pointers import field_errors
from apps.practices.errors.schema import ProblemSerializer, describe_everywhere, problems
from tests.practices.failing import FAILURES, SECRET
from tests.problems import assert_answer_headers, assert_problem

pytestmark = [pytest.mark.urls("tests.practices.failing"), pytest.mark.django_db]

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


class Lines(logging.Handler):
    """Keeps log records, each once even if it passes several loggers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record not in self.records:
            self.records.append(record)

    def told(self) -> list[tuple[str, str]]:
        return [(record.levelname, record.getMessage()) for record in self.records]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Return the records of the errors practice and of Django's loggers."""
    handler = Lines()
    loggers = [logging.getLogger(name) for name in ("apps.practices.errors", "django.request", "django.security", "")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING)
    yield handler
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


# In a view


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("prefix", ["/api/v1/failing", "/failing"])
def test_exceptions_become_problems(client: Client, prefix: str, name: str) -> None:
    _, status, type = FAILURES[name]
    document = assert_problem(client.get(f"{prefix}/{name}?token=1"), status, type)
    assert document["instance"] == f"{prefix}/{name}"
    assert SECRET not in json.dumps(document)
    assert document["type"] == f"{settings.PUBLIC_URL}/problems/{type}"


@pytest.mark.parametrize("path", ["/api/v1/%FF", "/api/v1/%C3%A9", "/api/v1/a%20b%25", "/%FE/%25", "/%2541"])
def test_instance_is_the_requested_path(client: Client, path: str) -> None:
    """Bytes that are not UTF-8 are not encoded twice."""
    assert assert_problem(client.get(path), 404, "not-found")["instance"] == path


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("unavailable", "7"), ("own-type", "120"), ("postgres-away", None), ("redis-away", None), ("drf-throttled", "13")],
)
def test_retryable_problems_have_retry_after(client: Client, name: str, seconds: str | None) -> None:
    value = client.get(f"/api/v1/failing/{name}").headers["Retry-After"]
    assert value.isdigit()
    assert int(value) >= 1
    assert seconds in (None, value)


@pytest.mark.parametrize("name", ["drf-auth", "drf-no-auth"])
def test_a_401_names_the_scheme(client: Client, name: str) -> None:
    assert client.get(f"/api/v1/failing/{name}").headers["WWW-Authenticate"] == "Bearer"


def test_bug_is_logged_once_with_traceback(client: Client, lines: Lines) -> None:
    for path in ("/api/v1/failing/bug", "/failing/bug"):
        lines.records.clear()
        response = client.get(path)
        assert lines.told() == [("ERROR", "request_failed")]
        line = lines.records[0]
        assert line.exc_info
        assert line.exc_info[0] is RuntimeError
        assert line.__dict__["request_id"] == response.json()["request_id"]


def test_unavailable_dependency_is_one_warning(client: Client, lines: Lines) -> None:
    client.get("/api/v1/failing/redis-away")
    assert lines.told() == [("WARNING", "dependency_unavailable")]
    assert "ConnectionError" in lines.records[0].__dict__["reason"]


def test_client_errors_are_not_logged_as_errors(client: Client, lines: Lines) -> None:
    for path in ("/nowhere", "/api/v1/failing/conflict", "/failing/not-found", "/api/v1/failing/validation"):
        assert client.get(path).status_code < 500
    assert lines.told() == []


# Validation


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/title"]),
        ({"title": "a", "tags": ["fine", "x"]}, ["/tags/0"]),
        ({"title": "a", "tags": "no"}, ["/tags"]),
        ({"title": "a", "authors": [{"name": "ok"}, {"name": "long"}, {}]}, ["/authors/1/name", "/authors/2/name"]),
        ({"title": "whole"}, [""]),
        ([{"title": "a"}, {}], ["/1/title"]),
        ("text", [""]),
    ],
)
def test_each_error_points_into_the_body(client: Client, body: Any, pointers: list[str]) -> None:
    response = client.post("/api/v1/books", json.dumps(body), content_type="application/json")
    document = assert_problem(response, 400, "validation")
    assert [error["pointer"] for error in document["errors"]] == pointers


def test_pointers_are_escaped_and_query_names_kept() -> None:
    detail = {"a/b": {"c~d": [ErrorDetail("No.", code="bad")]}, "?limit": [ErrorDetail("Too many.", code="max")]}
    assert field_errors(detail) == [FieldError("/a~1b/c~0d", "bad", "No."), FieldError("?limit", "max", "Too many.")]
    assert field_errors([{}, {"a": ["x"]}]) == [FieldError("/1/a", "invalid", "x")]
    assert field_errors({"tags": {1: ["x", "y"]}}) == [
        FieldError("/tags/1", "invalid", "x"),
        FieldError("/tags/1", "invalid", "y"),
    ]


# Before and around a view


def test_too_deep_json_is_a_client_error(client: Client) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    assert_problem(client.post("/api/v1/books", deep, content_type="application/json"), 400, "malformed")
    assert_problem(client.generic("GET", "/deep", deep), 400, "malformed")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "type"),
    [
        ('{"title": ', "application/json", 400, "malformed"),
        (b"\xff\xfe", "application/json", 400, "malformed"),
        ("--x\r\nnonsense", "multipart/form-data", 400, "malformed"),
        ("--x\r\nnonsense", "multipart/form-data; boundary=\xff", 400, "malformed"),
        ("a=1", "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
        ("<a/>", "application/xml", 415, "unsupported-media-type"),
    ],
)
def test_unreadable_body(client: Client, body: Any, content_type: str, status: int, type: str) -> None:
    assert_problem(client.post("/api/v1/books", body, content_type=content_type), status, type)


def test_too_many_form_fields(client: Client) -> None:
    fields = "&".join(f"f{number}=1" for number in range(settings.DATA_UPLOAD_MAX_NUMBER_FIELDS + 1))
    response = client.post("/form", fields, content_type="application/x-www-form-urlencoded")
    assert_problem(response, 400, "too-many-fields")


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/nowhere", "/api/v1/books/", "/\u202e/ü", "/a%0d%0aX:1"])
def test_an_unknown_address(client: Client, path: str) -> None:
    assert_problem(client.get(path), 404, "not-found")


@pytest.mark.parametrize("path", ["/page", "/api/v1/plain", "/nowhere", "/admin/"])
def test_an_unknown_host(client: Client, path: str, lines: Lines) -> None:
    document = assert_problem(client.get(path, headers={"Host": "evil.example"}), 400, "bad-host")
    assert "evil" not in json.dumps(document)
    assert lines.told() == [("WARNING", "request_refused")]


def test_a_forged_form(lines: Lines) -> None:
    client = Client(enforce_csrf_checks=True)
    assert_problem(client.post("/admin/login/", {"username": "a", "password": "b"}), 403, "csrf-failed")
    assert lines.told() == [("WARNING", "request_refused")]


@pytest.mark.parametrize("path", ["/page", "/api/v1/plain", "/problems", "/problems/conflict"])
def test_a_wrong_method_keeps_its_allow_header(client: Client, path: str) -> None:
    response = client.put(path)
    assert_problem(response, 405, "method-not-allowed")
    assert "GET" in response.headers["Allow"]


def test_unsatisfiable_accept(client: Client) -> None:
    assert_problem(client.get("/api/v1/plain", headers={"Accept": "image/png"}), 406, "not-acceptable")


# After a view


def test_other_error_bodies_are_replaced_headers_kept(client: Client) -> None:
    response = client.get("/api/v1/foreign")
    assert_problem(response, 409, "conflict")
    assert response.headers["X-Kept"] == "yes"
    assert "ETag" not in response.headers
    assert SECRET.encode() not in response.content
    assert_problem(client.get("/foreign"), 403, "permission-denied")


def test_error_page_of_a_view_is_kept_for_browsers(client: Client) -> None:
    assert b"Please correct" in client.get("/corrected-form", headers={"Accept": BROWSER}).content
    assert_problem(client.get("/corrected-form"), 422, "unprocessable")
    assert client.get("/own-body").content == b"starting"


def test_stream_that_fails_at_once_is_a_problem(client: Client, lines: Lines) -> None:
    for path in ("/api/v1/stream/0", "/stream/0"):
        lines.records.clear()
        response = client.get(path)
        assert_problem(response, 500, "internal-error")
        assert "Content-Disposition" not in response.headers
        assert lines.told() == [("ERROR", "request_failed")]


def test_stream_that_fails_later_is_cut_and_logged_once(client: Client, lines: Lines) -> None:
    response = client.get("/stream/3")
    received = []
    with pytest.raises(ConnectionResetError) as broken:
        received.extend(response.streaming_content)
    assert received == [b"0\n", b"1\n", b"2\n"]
    assert SECRET not in str(broken.value)
    assert lines.told() == [("ERROR", "request_failed")]


# For people


def test_browser_gets_a_page_with_the_same_content(client: Client) -> None:
    response = client.get("/nowhere/<script>", headers={"Accept": BROWSER})
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert_answer_headers({name.lower(): value for name, value in response.headers.items()})
    text = response.content.decode()
    assert response.headers["X-Request-ID"] in text
    assert "Not found" in text
    assert f"{settings.PUBLIC_URL}/problems/not-found" in text
    for unwanted in ("<script", "<style", "style=", "onclick"):
        assert unwanted not in text


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("text/*", True),
        ("text/html;q=0.9, application/json;q=0.8", True),
        ("*/*", False),
        ("", False),
        ("application/json, text/html", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=0, */*", False),
        ("application/problem+json, text/html;q=0.9", False),
        ("nonsense;;q=x,,", False),
    ],
)
def test_accept_decides_by_quality(client: Client, accept: str, is_page: bool) -> None:
    response = client.get("/nowhere", headers={"Accept": accept})
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html") is is_page
    assert "Accept" in response.headers["Vary"]


def test_api_returns_json_to_browsers_too(client: Client) -> None:
    for path in ("/api/v1/nowhere", "/api/v1/failing/bug", "/api/v1/plain"):
        response = client.get(path, headers={"Accept": "text/html"})
        assert_problem(response, response.status_code)


def test_head_has_the_headers_of_get_and_no_body(client: Client) -> None:
    for path in ("/nowhere", "/api/v1/failing/conflict", "/failing/bug"):
        head, get = client.head(path), client.get(path)
        assert head.content == b""
        assert head.status_code == get.status_code
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
        # A request id more or less: its length does not vary.
        assert head.headers["Content-Length"] == str(len(get.content))


def test_head_response_has_no_body() -> None:
    head = problem_response(RequestFactory().head("/nowhere"), Conflict())
    get = problem_response(RequestFactory().get("/nowhere"), Conflict())
    assert head.content == b""
    assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(get.content))


# The pages of problem types


def test_every_type_has_a_page_in_json_and_html(client: Client) -> None:
    index = client.get("/problems").json()["problems"]
    assert [entry["type"].rpartition("/")[2] for entry in index] == list(problem_types())
    for slug, cls in problem_types().items():
        facts = client.get(f"/problems/{slug}").json()
        url = f"{settings.PUBLIC_URL}/problems/{slug}"
        assert facts == {"type": url, "title": cls.title, "status": cls.status, "explanation": cls.explanation}
        html = client.get(f"/problems/{slug}", headers={"Accept": BROWSER}).content.decode()
        assert cls.title.replace("'", "&#x27;") in html
    assert b"teapot-busy" in client.get("/problems", headers={"Accept": BROWSER}).content
    assert client.get("/problems/page.css").headers["Content-Type"] == "text/css; charset=utf-8"


def test_unknown_problem_type_is_a_problem(client: Client) -> None:
    assert_problem(client.get("/problems/no-such"), 404, "not-found")


# In development


def test_debug_shows_tracebacks_only_to_browsers(client: Client, settings: Any, lines: Lines) -> None:
    settings.DEBUG = True
    assert b"RuntimeError" in client.get("/failing/bug", headers={"Accept": BROWSER}).content
    for path, status in (
        ("/failing/bug", 500),
        ("/api/v1/failing/bug", 500),
        ("/nowhere", 404),
        ("/api/v1/nowhere", 404),
    ):
        assert_problem(client.get(path), status)
    lines.records.clear()
    client.get("/failing/bug")
    assert lines.told() == [("ERROR", "request_failed")]


# Beneath the test client: on a real connection


# The schema


def test_schema_lists_every_error() -> None:
    pieces = problems(409, declared.DECLARED[0])
    assert {status for status, _ in pieces} >= {409, 400, 429, 500, 503}
    assert all(media == "application/problem+json" for _, media in pieces)
    assert set(ProblemSerializer().fields) == {"type", "title", "status", "detail", "instance", "request_id", "errors"}
    described = describe_everywhere({"paths": {"/x": {"get": {"responses": {"200": {}}}}}})
    assert set(described["paths"]["/x"]["get"]["responses"]) >= {"200", "400", "500", "503"}


def test_published_schema_is_complete_and_resolves() -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    assert "Problem" in schema["components"]["schemas"]
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    assert operations
    for operation in operations:
        answers = operation["responses"]
        assert set(answers) >= {"400", "403", "406", "429", "500", "503"}, operation["operationId"]
        for status, answer in answers.items():
            if int(status) >= 400:
                answer = schema["components"]["responses"].get(answer.get("$ref", "").rpartition("/")[2], answer)
                assert list(answer["content"]) == ["application/problem+json"], (operation["operationId"], status)


# The checks


def _ids() -> set[str | None]:
    return {message.id for message in run_checks(tags=["errors"]) if (message.id or "").startswith("errors.")}


def test_checks_accept_the_settings() -> None:
    assert _ids() == set()


def test_checks_find_duplicate_and_incomplete_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declared, "DECLARED", [*declared.DECLARED])

    class Again(Problem, status=409, type="conflict", title="Again"):
        explanation = "Once more."

    class Incomplete(Problem, type="Not A Slug"):
        pass

    assert _ids() == {"errors.E001", "errors.E002"}


def test_type_as_attribute_is_refused() -> None:
    with pytest.raises(TypeError, match="in the class statement"):

        class Undeclared(Problem):
            type = "undeclared"


@pytest.mark.parametrize(
    ("name", "value", "id"),
    [
        ("REST_FRAMEWORK", {}, "errors.E004"),
        ("CSRF_FAILURE_VIEW", "django.views.csrf.csrf_failure", "errors.E005"),
        ("ROOT_URLCONF", "apps.practices.errors.urls", "errors.E006"),
    ],
)
def test_checks_find_unbound_handlers(settings: Any, name: str, value: Any, id: str) -> None:
    setattr(settings, name, value)
    assert id in _ids()
    with pytest.raises(SystemCheckError, match=id):
        call_command("check", tags=["errors"])
