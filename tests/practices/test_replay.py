"""Replayed responses (decision 0053): the same to the byte as those of the middlewares, and none for what is unusual."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from corsheaders.signals import check_request_enabled
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from apps.practices.caching.tags import TagChange
from apps.practices.throttling.throttles import ScopeThrottle
from apps.practices.validation.clients import ClientSocket
from project import reads, replay
from tests.caches import caches_clear
from tests.practices.application import HOST, NOTES, Seen, Server
from tests.practices.cache_servers import black_hole
from tests.sample.views import NoteList

APP = "https://app.example.com"


class Clock:
    """A clock that changes only when a test advances it."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def servers(db: None, settings: Any, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[tuple[Server, Server]]:
    """Return a server that replays and one that does not, at the same time."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "zeal" not in name]
    settings.ALLOWED_HOSTS = [HOST]
    settings.CORS_ALLOWED_ORIGINS, settings.CORS_ALLOW_CREDENTIALS = [APP], True
    settings.TRUSTED_PROXIES = 1
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 3600
    settings.CACHING_LOCAL_SECONDS = 3600
    settings.THROTTLING_POLICIES = {**settings.THROTTLING_POLICIES, "anon": (50, 900), "address": (60, 900)}
    monkeypatch.setattr(time, "time", clock)
    caches_clear()
    for sent in (request_started, request_finished):  # as in Django's test client: the test's transaction stays open
        sent.disconnect(close_old_connections)
    yield Server(replays=True), Server(replays=False)
    for sent in (request_started, request_finished):
        sent.connect(close_old_connections)
    caches_clear()


USUAL: list[dict[str, str]] = [
    {},
    {"HTTP_ORIGIN": APP},
    {"REQUEST_METHOD": "HEAD"},
    {"HTTP_ACCEPT": "application/json", "HTTP_X_REQUEST_ID": "theirs-12345678"},
    {"HTTP_IF_NONE_MATCH": '"another"'},
    {"HTTP_IF_NONE_MATCH": "*", "HTTP_ORIGIN": APP},
    {"QUERY_STRING": "limit=3"},
]


@pytest.mark.parametrize("fields", USUAL)
def test_hit_is_replayed_to_the_byte(servers: tuple[Server, Server], clock: Clock, fields: dict[str, str]) -> None:
    replaying, plain = servers
    for _ in range(2):
        plain.ask(**fields, HTTP_X_FORWARDED_FOR="203.0.113.7")
    for number in range(4):
        ours, theirs = replaying.ask(**fields), plain.ask(**fields)
        assert (ours.passes, theirs.passes) == (0 if number else 1, 1)
        assert "hit" in dict(ours.headers)["Cache-Status"]
        assert ours.line["status"] == (304 if fields.get("HTTP_IF_NONE_MATCH") == "*" else 200)
        assert ours.shown == theirs.shown
        assert dict(ours.headers)["Age"] == str(number)
        clock.now += 1
    assert {"RateLimit", "RateLimit-Policy", "Strict-Transport-Security"} <= dict(ours.headers).keys()


@pytest.mark.parametrize(
    "fields",
    [
        {"HTTP_AUTHORIZATION": "Bearer forged"},
        {"HTTP_COOKIE": "access=forged"},
        {"HTTP_HOST": "attacker.example.com"},
        {"HTTP_X_FORWARDED_PROTO": "http"},
        {"HTTP_ORIGIN": "https://attacker.example.com"},
        {"HTTP_ACCEPT": "text/html"},
        {"HTTP_IF_NONE_MATCH": '"' + "x" * 1100 + '"'},
        {"QUERY_STRING": "colour=red"},
        {"QUERY_STRING": "limit=1&limit=2"},
        {"QUERY_STRING": "search=%00"},
        {"PATH_INFO": f"{NOTES}\x00"},
        {"PATH_INFO": f"{NOTES}/"},
        {"REQUEST_METHOD": "OPTIONS", "HTTP_ORIGIN": APP, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"},
        {"REQUEST_METHOD": "POST"},
        {"CONTENT_LENGTH": "3", "CONTENT_TYPE": "text/plain"},
        {"CONTENT_LENGTH": "three"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"HTTP_ORIGIN": APP, "HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK": "true"},
    ],
)
def test_unusual_request_passes_the_middlewares(servers: tuple[Server, Server], fields: dict[str, str]) -> None:
    replaying, plain = servers
    for server in (plain, replaying, replaying):
        server.ask()
    assert replaying.ask().passes == 0
    for _ in range(3):
        ours, theirs = replaying.ask(**fields), plain.ask(**fields)
        assert ours.passes == 1
        assert ours.status == theirs.status
        assert [name for name, _ in ours.headers] == [name for name, _ in theirs.headers]
        assert ours.counted == theirs.counted


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_liveness_is_replayed_to_the_byte(servers: tuple[Server, Server], method: str, scheme: str) -> None:
    replaying, plain = servers
    fields = {"REQUEST_METHOD": method, "HTTP_X_FORWARDED_PROTO": scheme, "HTTP_HOST": "10.0.0.7"}
    for number in range(3):
        ours, theirs = replaying.ask("/healthz", **fields), plain.ask("/healthz", **fields)
        assert ours.passes == (0 if number else 1)
        assert ours.shown == theirs.shown
    assert ours.status == "200 OK"
    assert ("Strict-Transport-Security" in dict(ours.headers)) is (scheme == "https")


@pytest.mark.parametrize("away", [False, True])
def test_limit_is_reached_as_in_the_middlewares(servers: tuple[Server, Server], settings: Any, away: bool) -> None:
    replaying, plain = servers
    caches = settings.CACHES
    settings.THROTTLING_POLICIES = {**settings.THROTTLING_POLICIES, "anon": (6, 90_000)}
    for server in servers:
        server.ask()
    with black_hole(settings) if away else nullcontext():
        for server in servers:  # counts in the process itself from now on, if Redis is away
            server.ask()
        statuses = []
        for _ in range(7):
            ours, theirs = replaying.ask(HTTP_ORIGIN=APP), plain.ask(HTTP_ORIGIN=APP)
            if "Retry-After" not in dict(ours.headers):
                assert ours.shown == theirs.shown
            assert [name for name, _ in ours.headers] == [name for name, _ in theirs.headers]
            assert ours.counted == theirs.counted
            statuses.append(ours.line["status"])
    settings.CACHES = caches
    assert statuses == sorted(statuses)
    assert statuses[0] == 200
    assert statuses[-1] == 429


def test_change_ends_the_replay(servers: tuple[Server, Server]) -> None:
    replaying, _ = servers
    for _ in range(3):
        answer = replaying.ask()
    assert answer.passes == 0
    TagChange(("notes",))()  # as a commit does
    answer = replaying.ask()
    assert answer.passes == 1
    assert "fwd=uri-miss" in dict(answer.headers)["Cache-Status"]
    assert (replaying.ask().passes, replaying.ask().passes) == (1, 0)


def test_hit_reads_nothing_but_its_shape(servers: tuple[Server, Server]) -> None:
    """A header that a middleware reads, and the shape lacks, would give one client's response to another."""
    _, plain = servers
    plain.ask()
    answer = plain.ask(environ=Seen)
    assert "hit" in dict(answer.headers)["Cache-Status"]
    facts = {"REMOTE_ADDR", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "wsgi.url_scheme"}
    facts |= {"HTTP_TRACEPARENT", "shipshape.facts"}
    shape = {"REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "HTTP_HOST", "HTTP_ACCEPT", "HTTP_ORIGIN", "SCRIPT_NAME"}
    body = {"CONTENT_LENGTH", "CONTENT_TYPE", "wsgi.input", "wsgi.file_wrapper"}
    server = {"SCRIPT_URL", "REDIRECT_URL", "gunicorn.socket", "HTTP_X_REQUEST_ID", "HTTP_IF_NONE_MATCH"}
    assert plain.read - replay.UNUSUAL - facts - shape - body - server == set()


def test_connection_knows_its_client(servers: tuple[Server, Server]) -> None:
    clients: list[str] = []

    class Socket(ClientSocket):
        def __init__(self) -> None:
            pass

        def client_is(self, client: str) -> None:
            clients.append(client)

    socket: Any = Socket()
    for passes in (1, 1, 0):
        assert servers[0].ask(**{"gunicorn.socket": socket}).passes == passes
    assert clients == [servers[0].address] * 3


def test_number_of_replays_is_bounded(servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch) -> None:
    replaying, _ = servers
    monkeypatch.setattr(replay, "MOST", 2)
    for limit in range(1, 5):
        for _ in range(2):
            replaying.ask(f"{NOTES}?limit={limit}")
    assert len(replaying.application.replays._replays) == 2


def test_unknown_middleware_ends_all_replays(settings: Any) -> None:
    assert replay.replays_allowed()
    settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", *settings.MIDDLEWARE]
    assert not replay.replays_allowed()
    settings.MIDDLEWARE = []
    assert not replay.replays_allowed()


@pytest.mark.parametrize("allowed", [replay.replays_allowed, reads.reads_allowed])
def test_cors_by_signal_ends_all_short_cuts(settings: Any, allowed: Callable[[], bool]) -> None:
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if "zeal" not in path]  # the tests' own
    assert allowed()

    def anybody(**_: Any) -> bool:
        return True

    check_request_enabled.connect(anybody)
    try:
        assert not allowed()
    finally:
        check_request_enabled.disconnect(anybody)


def test_limits_of_the_view_are_counted(
    servers: tuple[Server, Server], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaying, plain = servers
    settings.THROTTLING_POLICIES = {**settings.THROTTLING_POLICIES, "reads": (5, 90_000)}
    monkeypatch.setattr(NoteList, "throttle_classes", (ScopeThrottle,))
    monkeypatch.setattr(NoteList, "throttle_scope", "reads", raising=False)
    for _ in range(2):
        plain.ask(HTTP_X_FORWARDED_FOR="203.0.113.7")
    statuses = []
    for _ in range(6):
        ours, theirs = replaying.ask(), plain.ask()
        assert [name for name, _ in ours.headers] == [name for name, _ in theirs.headers]
        assert '"reads";r=' in dict(ours.headers)["RateLimit"]
        statuses.append((ours.line["status"], theirs.line["status"]))
    assert statuses == [(200, 200)] * 5 + [(429, 429)]
