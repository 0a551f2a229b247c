"""The facts of a request: found once, the route resolved once, and first of all."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client, RequestFactory
from django.test.client import ClientHandler
from django.urls import Resolver404, URLResolver, clear_url_caches

from apps.practices.mechanisms import facts
from apps.practices.mechanisms.checks import ORDER
from apps.practices.mechanisms.facts import facts_of, route_match, view_of
from project.handler import Application
from project.wsgi import application
from tests.sample.views import NoteDetail

pytestmark = pytest.mark.django_db
NOTE = "/api/v1/sample/notes/01890000-0000-7000-8000-000000000000"


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the paths that the root of the URL configuration has resolved."""
    paths: list[str] = []
    resolve = URLResolver.resolve

    def counted(self: URLResolver, path: str) -> Any:
        if str(self.pattern) == "^/":
            paths.append(path)
        return resolve(self, path)

    monkeypatch.setattr(URLResolver, "resolve", counted)
    facts._resolved.cache_clear()
    clear_url_caches()
    return paths


class Handler(ClientHandler):
    """The test client's handler, which keeps the test's transaction open, with the routes of the served application."""

    resolve_request = Application.resolve_request


@pytest.fixture
def client() -> Client:
    client = Client()
    client.handler = Handler()
    return client


def test_server_uses_the_handler() -> None:
    assert type(application) is Application


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/sample/notes", 200),  # a view, through limits, cache, handler, metrics and access line
        ("GET", NOTE, 404),
        ("PUT", NOTE, 401),  # and the bound of its body
        ("GET", "/api/v1/nowhere", 404),
        ("PUT", "/api/v1/nowhere", 404),
        ("GET", "/healthz", 200),
    ],
)
def test_a_request_is_resolved_once(client: Client, resolved: list[str], method: str, path: str, status: int) -> None:
    body = b"{}" if method == "PUT" else b""
    assert client.generic(method, path, body, content_type="application/json").status_code == status
    assert resolved == [path]


def test_a_known_path_is_not_resolved_again(client: Client, resolved: list[str]) -> None:
    for _ in range(3):
        client.get("/api/v1/sample/notes")
    assert resolved == ["/api/v1/sample/notes"]


def test_missing_route_keeps_no_reference() -> None:
    request = RequestFactory().get("/api/v1/nowhere")
    for _ in range(2):
        with pytest.raises(Resolver404):
            route_match(request)
    assert facts_of(request).unmatched.__traceback__ is None  # type: ignore[union-attr]  # raised above
    assert view_of(request) is None
    assert view_of(RequestFactory().get(NOTE)) is NoteDetail
    assert facts._resolved.cache_info().maxsize == 4096
    before = sys.getrefcount(request)
    facts_of(request)
    assert sys.getrefcount(request) == before


def test_routes_follow_the_url_configuration(settings: Any) -> None:
    request = RequestFactory().get(NOTE)
    assert view_of(request) is NoteDetail
    settings.ROOT_URLCONF = "project.urls"
    assert view_of(RequestFactory().get(NOTE)) is None


def test_client_cannot_choose_the_request_id() -> None:
    answer = Client().get("/api/v1/nowhere", headers={"X-Request-ID": "chosen-by-the-client"})
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"] != "chosen-by-the-client"


@pytest.mark.parametrize("name", ORDER)
def test_check_finds_missing_middlewares(settings: Any, name: str) -> None:
    assert run_checks(tags=["mechanisms"]) == []
    settings.MIDDLEWARE = [one for one in settings.MIDDLEWARE if one != name]
    assert [message.id for message in run_checks(tags=["mechanisms"])] == ["mechanisms.E001"]
    with pytest.raises(SystemCheckError, match=r"mechanisms\.E001"):
        call_command("check", tags=["security"])


def test_check_finds_middlewares_out_of_order(settings: Any) -> None:
    shipped = list(settings.MIDDLEWARE)
    for changed in (shipped[::-1], ["django.middleware.gzip.GZipMiddleware", *shipped], []):
        settings.MIDDLEWARE = changed
        assert [message.id for message in run_checks(tags=["mechanisms"])] == ["mechanisms.E001"]
    settings.MIDDLEWARE = ["another.package.Middleware", *shipped]
    assert run_checks(tags=["mechanisms"]) == []


def test_long_paths_are_not_cached(resolved: list[str]) -> None:
    for length in (facts.CACHED_PATH_LENGTH, facts.CACHED_PATH_LENGTH + 1):
        assert route_match(RequestFactory().get("/admin/".ljust(length, "a")))  # any path below it has a route
    assert facts._resolved.cache_info().currsize == 1
