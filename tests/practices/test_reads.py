"""Reads that go straight to their view (decision 0054): the same as through the middlewares, and none that is unusual."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.utils import timezone

from apps.accounts.models import EndReason, User
from apps.accounts.selectors.sessions import sessions_forget
from apps.accounts.services.sessions import session_end
from apps.accounts.views import users as users_views
from apps.practices.throttling.throttles import ScopeThrottle
from apps.practices.validation.clients import ClientSocket
from project import reads
from tests.apps.accounts.factories import sign_in, user_create
from tests.caches import caches_clear
from tests.practices.application import HOST, NOTES, Seen, Sent, Server
from tests.sample.models import Note
from tests.sample.views import NoteList

APP = "https://app.example.com"
Servers = tuple[Server, Server]


@pytest.fixture
def servers(db: None, token_keys: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Return a server with the short cut and one without, at the same time, each with its own member of staff."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "zeal" not in name]
    settings.ALLOWED_HOSTS = [HOST]
    settings.CORS_ALLOWED_ORIGINS, settings.CORS_ALLOW_CREDENTIALS = [APP], True
    settings.TRUSTED_PROXIES = 1
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 3600
    settings.TOKENS_CHECK_SECONDS = 60
    settings.THROTTLING_POLICIES = {
        **settings.THROTTLING_POLICIES,
        **dict.fromkeys(("anon", "address", "user"), (90, 90000)),
    }
    caches_clear()
    for sent in (request_started, request_finished):  # as in Django's test client: the test's transaction stays open
        sent.disconnect(close_old_connections)
    monkeypatch.setattr(reads, "close_old_connections", lambda: None)
    both = Server(replays=True), Server(replays=False)
    for server in both:
        server.user = user_create(name="Staff", is_staff=True, permissions=("accounts.view_user",))
        server.pair = sign_in(server.user)
        server.token = server.pair.access
    yield both
    for sent in (request_started, request_finished):
        sent.connect(close_old_connections)
    caches_clear()


@pytest.fixture
def target(servers: Servers) -> User:
    for number in range(3):
        Note.objects.create(owner=servers[0].user, title=f"Note {number}")
    return user_create(name="Target")


def asked(servers: Servers, path: str, **fields: str) -> tuple[Sent, Sent]:
    """Return what both servers have answered. The lines name their own users and sessions."""
    answers = servers[0].ask(path, **fields), servers[1].ask(path, **fields)
    for server, answer in zip(servers, answers, strict=True):
        if answer.line.get("user_id"):
            assert answer.line.pop("user_id") == str(server.user.pk)
            assert answer.line.pop("session") == str(server.pair.session_id)
        answer.line.pop("db_ms")
    return answers


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/users/{target}",
        "/api/v1/users?limit=2",
        "/api/v1/users?limit=1&fields=id&ordering=created_at",
        NOTES,
        f"{NOTES}?limit=2",
        f"{NOTES}/{{note}}",
    ],
)
@pytest.mark.parametrize(
    "fields", [{}, {"HTTP_ORIGIN": APP, "HTTP_ACCEPT": "application/json", "HTTP_X_REQUEST_ID": "theirs-12345678"}]
)
def test_reads_are_answered_to_the_byte(servers: Servers, target: User, path: str, fields: dict[str, str]) -> None:
    note = Note.objects.order_by("pk").first()
    assert note is not None
    path = path.format(target=target.pk, note=note.pk)
    for _ in range(3):
        asked(servers, path, **fields)
    for _ in range(3):
        ours, theirs = asked(servers, path, **fields)
        assert (ours.passes, theirs.passes) == (0, 1)
        assert ours.status == "200 OK"
        assert ours.shown == theirs.shown
    headers = dict(ours.headers)
    assert {"ETag", "RateLimit", "RateLimit-Policy", "Content-Length", "Strict-Transport-Security"} <= headers.keys()
    assert '"user";r=' in headers["RateLimit"]
    assert headers["Cache-Control"] == "private, no-cache"


def test_each_origin_gets_its_own_headers(servers: Servers, target: User) -> None:
    for number in range(3):
        for fields in ({}, {"HTTP_ORIGIN": APP}):
            ours, theirs = asked(servers, f"/api/v1/users/{target.pk}", **fields)
            assert ours.passes == (0 if number else 1)
            assert ours.shown == theirs.shown
    assert dict(ours.headers)["access-control-allow-origin"] == APP


def test_another_resource_of_the_view_is_read(servers: Servers, target: User) -> None:
    other = user_create(name="Other")
    for user in (target, target, other):
        ours, theirs = asked(servers, f"/api/v1/users/{user.pk}")
        assert ours.shown == theirs.shown
        assert str(user.pk).encode() in ours.body
    assert ours.passes == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"HTTP_COOKIE": "theme=dark"},
        {"HTTP_HOST": "attacker.example.com"},
        {"HTTP_X_FORWARDED_PROTO": "http"},
        {"HTTP_ORIGIN": "https://attacker.example.com"},
        {"HTTP_ACCEPT": "text/html"},
        {"HTTP_IF_NONE_MATCH": "*"},
        {"QUERY_STRING": "colour=%FF"},
        {"PATH_INFO": "/api/v1/users/\x00"},
        {"PATH_INFO": "/api/v1/users/\xe9"},
        {"PATH_INFO": "/api/v1/nothing"},
        {"REQUEST_METHOD": "HEAD"},
        {"REQUEST_METHOD": "OPTIONS", "HTTP_ORIGIN": APP, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"},
        {"REQUEST_METHOD": "DELETE"},
        {"CONTENT_LENGTH": "3", "CONTENT_TYPE": "text/plain"},
        {"CONTENT_LENGTH": "three"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"SCRIPT_NAME": "/prefix"},
        {"HTTP_AUTHORIZATION": ""},
    ],
)
def test_unusual_requests_pass_the_middlewares(servers: Servers, target: User, fields: dict[str, str]) -> None:
    path = f"/api/v1/users/{target.pk}"
    for _ in range(2):
        asked(servers, path)
    assert servers[0].ask(path).passes == 0
    servers[1].ask(path)
    for _ in range(2):
        ours, theirs = asked(servers, path, **fields)
        assert ours.passes == 1
        assert ours.shown == theirs.shown


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/users/00000000-0000-4000-8000-000000000000", "404 Not Found"),
        ("/api/v1/users/{target}?colour=red", "400 Bad Request"),
        ("/api/v1/users/{target}", "403 Forbidden"),
        ("/api/v1/users/{target}", "401 Unauthorized"),
        ("/api/v1/users/{target}", "500 Internal Server Error"),
    ],
)
def test_what_a_view_refuses_is_refused_once(
    servers: Servers, target: User, path: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits count it once, and the view does not run again for the middlewares."""
    path = path.format(target=target.pk)
    for _ in range(2):
        asked(servers, f"/api/v1/users/{target.pk}")
    if status.startswith("403"):
        for server in servers:
            server.user.user_permissions.clear()
            sessions_forget(user_id=server.user.pk)
    if status.startswith("401"):
        for server in servers:
            session_end(session_id=server.pair.session_id, reason=EndReason.LOGOUT, now=timezone.now())
            sessions_forget(user_id=server.user.pk)
    runs: list[int] = []
    read = users_views.user_read

    def counted(**given: Any) -> Any:
        runs.append(1)
        if status.startswith("500"):
            raise ZeroDivisionError
        return read(**given)

    monkeypatch.setattr(users_views, "user_read", counted)
    for number in range(1, 4):
        ours, theirs = asked(servers, path)
        assert ours.status == theirs.status == status
        assert ours.shown == theirs.shown
        assert len(runs) in (0, 2 * number)


def test_a_view_that_fails_before_it_is_dispatched(
    servers: Servers, target: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(servers, f"/api/v1/users/{target.pk}")

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(users_views.UserDetail, "get_parsers", broken)
    ours, theirs = asked(servers, f"/api/v1/users/{target.pk}")
    assert ours.status == "500 Internal Server Error"
    assert ours.shown == theirs.shown


def test_limits_are_reached_as_in_the_middlewares(servers: Servers, target: User, settings: Any) -> None:
    settings.THROTTLING_POLICIES = {**settings.THROTTLING_POLICIES, "user": (6, 90_000)}
    statuses = []
    for _ in range(9):
        ours, theirs = asked(servers, f"/api/v1/users/{target.pk}", HTTP_ORIGIN=APP)
        assert [name for name, _ in ours.headers] == [name for name, _ in theirs.headers]
        assert ours.counted == theirs.counted
        assert ours.status == theirs.status
        statuses.append(ours.line["status"])
    assert statuses == [200] * 6 + [429] * 3


def test_limits_of_the_view_are_counted(servers: Servers, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.THROTTLING_POLICIES = {**settings.THROTTLING_POLICIES, "reads": (4, 90_000)}
    monkeypatch.setattr(NoteList, "throttle_classes", (ScopeThrottle,))
    monkeypatch.setattr(NoteList, "throttle_scope", "reads", raising=False)
    statuses = []
    for _ in range(6):
        ours, theirs = asked(servers, NOTES)
        assert [name for name, _ in ours.headers] == [name for name, _ in theirs.headers]
        statuses.append((ours.line["status"], theirs.line["status"]))
    assert statuses == [(200, 200)] * 4 + [(429, 429)] * 2


def test_a_token_without_a_user_counts_as_anonymous(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that authenticates nobody answers 200, but not to a verified user."""
    monkeypatch.setattr(NoteList, "authentication_classes", ())
    for _ in range(3):
        ours, theirs = asked(servers, NOTES)
        assert ours.passes == 1
        assert ours.shown == theirs.shown
        assert '"anon";r=' in dict(ours.headers)["RateLimit"]


def test_middlewares_read_nothing_but_the_shape(servers: Servers, target: User) -> None:
    """A header that a middleware reads, and the shape lacks, would give one client's headers to another."""
    plain = servers[1]
    path = f"/api/v1/users/{target.pk}"
    plain.ask(path)
    answer = plain.ask(path, environ=Seen)
    assert answer.status == "200 OK"
    facts = {"REMOTE_ADDR", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "wsgi.url_scheme"}
    facts |= {"HTTP_TRACEPARENT", "shipshape.facts", "HTTP_AUTHORIZATION", "HTTP_X_REQUEST_ID"}
    shape = {"REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "HTTP_HOST", "HTTP_ACCEPT", "HTTP_ORIGIN", "SCRIPT_NAME"}
    body = {"CONTENT_LENGTH", "CONTENT_TYPE", "wsgi.input", "wsgi.file_wrapper"}
    server = {"SCRIPT_URL", "REDIRECT_URL", "gunicorn.socket", "HTTP_IF_NONE_MATCH"}
    assert plain.read - reads.UNUSUAL - facts - shape - body - server == set()


def test_connection_knows_its_client(servers: Servers, target: User) -> None:
    clients: list[str] = []

    class Socket(ClientSocket):
        def __init__(self) -> None:
            pass

        def client_is(self, client: str) -> None:
            clients.append(client)

    socket: Any = Socket()
    for passes in (1, 0):
        answer = servers[0].ask(f"/api/v1/users/{target.pk}", **{"gunicorn.socket": socket})
        assert answer.passes == passes
    assert clients == [servers[0].address] * 2


def test_connections_of_the_database_are_returned(
    servers: Servers, target: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    monkeypatch.setattr(reads, "close_old_connections", lambda: closed.append(1))
    for _ in range(3):
        servers[0].ask(f"/api/v1/users/{target.pk}")
    assert closed == [1] * 2


def test_number_of_frames_is_bounded(servers: Servers, target: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "MOST", 2)
    for number in range(5):
        servers[0].ask(f"/api/v1/users/{target.pk}", HTTP_ACCEPT=f"application/json;q=0.{number + 1}")
    assert len(servers[0].application.reads._frames) in (1, 2)
    for _ in range(2):
        assert servers[0].ask(f"/api/v1/users/{target.pk}", HTTP_ACCEPT="application/json" + " " * 301).passes == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OBSERVABILITY_SENTRY_DSN", "https://key@sentry.example.com/1"),
        ("FORCE_SCRIPT_NAME", "/prefix"),
        ("DATABASES", {"default": {}, "replica": {}}),
        ("DATABASES", {"default": {"ATOMIC_REQUESTS": True}}),
        ("MIDDLEWARE", ["django.middleware.gzip.GZipMiddleware"]),
    ],
)
def test_settings_that_end_the_short_cut(monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
    class Settings:
        MIDDLEWARE: Any = [name for name in settings.MIDDLEWARE if "zeal" not in name]
        DATABASES: Any = {"default": {}}
        OBSERVABILITY_SENTRY_DSN = FORCE_SCRIPT_NAME = None

    monkeypatch.setattr(reads, "settings", Settings)
    assert reads.reads_allowed()
    setattr(Settings, name, [*Settings.MIDDLEWARE, *value] if name == "MIDDLEWARE" else value)
    assert not reads.reads_allowed()


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/v1/me\x00", ""),
        ("/api/v1/me\x7f", ""),
        ("/api/v1/m\xe9", ""),
        ("/api/v1/me", "fields=%00"),
        ("/api/v1/me", "fields=\x00"),
        ("/api/v1/me", "fields=\xe9"),
    ],
)
def test_bytes_that_only_the_middlewares_judge(path: str, query: str) -> None:
    environ = {"REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": "Bearer x", "PATH_INFO": "/api/v1/me", "QUERY_STRING": ""}
    short_cut = reads.Reads()
    short_cut.are_allowed = True  # the tests' own middlewares are not known
    assert short_cut.may_answer(environ)
    assert not short_cut.may_answer({**environ, "PATH_INFO": path, "QUERY_STRING": query})
