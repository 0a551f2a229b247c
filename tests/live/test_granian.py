"""granian as the server: the same answers, bounds and stops as gunicorn's, directly and behind the edge."""

import io
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from django.http import HttpResponse, StreamingHttpResponse

from apps.practices.validation.clients import CHUNK, Slots, TooManySlow, Upload
from tests.faults.submitters import WIDE
from tests.fleet import Answer, ask, fleet_running
from tests.practices.test_headers import EXPECTED, NOTHING
from tests.processes import wait_until
from tools.fleet import ROOT, Fleet, Service
from tools.stack import Stack

NOTES = "/api/v1/sample/notes"
LARGE = "/static/drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js"  # more than a process reads whole
HEAD = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[Fleet]:
    more = {"WEB_SERVER": "granian", "WEB_CONCURRENCY": "2", "WEB_THREADS": "4", "LOG_ADDRESSES": "full"}
    with fleet_running(stack, **more, **WIDE) as fleet:
        yield fleet


def sent(fleet: Fleet, request: bytes, *, part: bytes = b"") -> bytes:
    """Send bytes as they are, and return everything until the server closes."""
    with socket.create_connection(("127.0.0.1", fleet.webs[0].port or 0), timeout=10) as connection:
        connection.sendall(request)
        if part:
            time.sleep(0.2)
            connection.sendall(part)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/healthz", None, 200),
        ("GET", "/readyz", None, 200),
        ("GET", NOTES, None, 200),
        ("GET", f"{NOTES}?limit=25", None, 200),
        ("HEAD", NOTES, None, 200),
        ("OPTIONS", NOTES, None, 200),
        ("GET", "/nowhere", None, 404),
        ("GET", f"{NOTES}?colour=red", None, 400),
        ("POST", NOTES, {}, 401),
        ("POST", "/api/v1/auth/login", {"email": "nobody@example.com", "password": "wrong password"}, 401),
        ("POST", "/api/v1/auth/login", b"x" * 1_100_000, 413),
        ("GET", "/admin/login/", None, 200),
        ("GET", LARGE, None, 200),
    ],
)
def test_every_response_has_the_headers(fleet: Fleet, method: str, path: str, body: Any, status: int) -> None:
    headers = {"Content-Type": "application/json"} if isinstance(body, bytes) else {}
    answer = ask(fleet.url, path, method=method, body=body, headers=headers, context=fleet.ssl_context())
    assert answer.status == status
    assert {name: answer.headers.get(name.lower()) for name in EXPECTED} == EXPECTED
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert (answer.headers["content-security-policy"] == NOTHING) is (
        not answer.headers.get("content-type", "").startswith("text/html")
    )
    assert answer.headers["x-request-id"]
    assert "server" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content) or method == "HEAD"


def test_conditional_request(fleet: Fleet) -> None:
    etag = ask(fleet.webs[0].url, NOTES).headers["etag"]
    answer = ask(fleet.webs[0].url, NOTES, headers={"If-None-Match": etag})
    assert (answer.status, answer.content, answer.headers["etag"]) == (304, b"", etag)


def test_long_stream_is_whole(fleet: Fleet) -> None:
    answers = [ask(fleet.webs[0].url, LARGE) for _ in range(2)]
    [content] = {answer.content for answer in answers}
    assert len(content) == int(answers[0].headers["content-length"]) > 1_048_576


def test_underscored_names_do_not_pass_the_edge(fleet: Fleet) -> None:
    path = "/nowhere/underscored"
    headers = {"X_Forwarded_For": "198.51.100.7", "X_Forwarded_Proto": "http", "X-Forwarded-For": "198.51.100.8"}
    assert ask(fleet.url, path, headers=headers, context=fleet.ssl_context()).status == 404
    lines = [line for web in fleet.webs for line in web.lines() if line.get("path") == path]
    assert [line["address"] for line in lines] == ["127.0.0.1"]


def test_access_and_server_lines_are_json(fleet: Fleet) -> None:
    ask(fleet.webs[0].url, NOTES)
    log = fleet.webs[0].log().splitlines()
    assert [line for line in log if not line.startswith("{")] == []
    loggers = {json.loads(line)["logger"] for line in log}
    assert {"_granian", "access"} <= loggers
    assert "granian.access" not in loggers


REFUSED = {
    "length and chunks": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks not last": b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "signed length": b"Content-Length: +2\r\n\r\n{}",
    "word for a length": b"Content-Length: two\r\n\r\n{}",
    "folded header": b"X-One: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "space before the colon": b"Content-Length : 2\r\n\r\n{}",
    "NUL": b"X-One: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
    "17 KB of headers": b"X-Long: " + b"a" * 17_000 + b"\r\n\r\n",
    "101 headers": b"".join(b"X-%d: a\r\n" % number for number in range(101)) + b"\r\n",
}


@pytest.mark.parametrize("shape", REFUSED)
def test_ambiguous_requests_are_refused(fleet: Fleet, shape: str) -> None:
    """Answer once, with an error, and close: what follows is not taken for a second request."""
    answer = sent(fleet, HEAD + REFUSED[shape] + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 4")
    assert answer.count(b"HTTP/1.1 ") == 1
    for word in (b"Traceback", b"site-packages", b"Granian", bytes(ROOT), b".py"):
        assert word not in answer


@pytest.mark.parametrize("name", [b"X-Forwarded-For", b"Cookie"])
def test_unreadable_headers_are_refused(fleet: Fleet, name: bytes) -> None:
    """Granian would hand over an empty one: the client's address would be the edge's, and a session would be missing."""
    for value, status in ((b"192.0.2.7", b"200"), (b"\xff, 192.0.2.7", b"400")):
        head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n"
        assert sent(fleet, head + name + b": " + value + b"\r\n\r\n").startswith(b"HTTP/1.1 " + status)


def test_body_in_two_parts_is_read(fleet: Fleet) -> None:
    body = b'{"email": "nobody@example.com", "password": "wrong password"}'
    head = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert sent(fleet, head + body[:20], part=body[20:]).startswith(b"HTTP/1.1 401 ")


def test_long_bodies_at_a_time_are_few() -> None:
    slots = Slots(2, each=1)
    bodies = [io.BytesIO(b"first\nsecond\n" + bytes(CHUNK)) for _ in range(4)]
    first, same, other, third = (Upload(body.read, length=2_000_000, slots=slots) for body in bodies)
    for upload, client in ((first, "a"), (same, "a"), (other, "b"), (third, "c")):
        upload.client_is(client)
    assert [io.BufferedReader(first).readline(), io.BufferedReader(other).read(7)] == [b"first\n", b"first\ns"]
    for upload in (same, third):
        with pytest.raises(TooManySlow):
            upload.read(1)
    first.body_received()
    assert same.read(1) == b"f"
    assert Upload(bodies[3].read, length=1000, slots=slots).read(5) == b"first", "a short body needs no slot"


def test_port_in_use_is_an_error(fleet: Fleet, tmp_path: Path) -> None:
    second = Service(name="web-2", folder=tmp_path, environment=fleet.webs[0].environment, port=fleet.webs[0].port)
    second.start(wait=False)
    assert second.wait(30) == 1
    assert "Address already in use" in second.log()


def test_stop_loses_nothing(fleet: Fleet) -> None:
    """Send SIGTERM to a process, as process managers do, and to a group, as Heroku-style hosts do."""
    answers: list[Answer] = []
    clients = [
        threading.Thread(target=lambda url=web.url, path=path: answers.append(ask(url, path)))
        for web in fleet.webs
        for path in (f"{NOTES}/slow?seconds=3", f"{NOTES}/busy?seconds=4")
    ]
    with (
        psycopg.connect(fleet.webs[0].environment["DATABASE_URL"], autocommit=True) as database,
        socket.create_connection(("127.0.0.1", fleet.webs[0].port or 0), timeout=10) as silent,
    ):
        silent.sendall(b"GET / HT")
        for client in clients:
            client.start()
        time.sleep(1)
        started = time.monotonic()
        fleet.webs[0].terminate()
        fleet.webs[1].terminate_group()
        time.sleep(0.5)
        for web in fleet.webs:
            ready = ask(web.url, "/readyz")
            assert (ready.status, ready.json()["type"].endswith("/problems/not-ready")) == (503, True)
            assert ask(web.url, NOTES).status == 200
        assert [web.wait(27) for web in fleet.webs] == [0, 0]
        assert time.monotonic() - started < 15
        for client in clients:
            client.join(15)
        assert [answer.status for answer in answers] == [200] * 4
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert database.execute(others).fetchall() == [(0,)]
    web = fleet.webs[0]
    web.start()
    counted = (
        'http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",'
        'http_route="/api/v1/sample/notes/busy"} '
    )
    token = {"Authorization": f"Bearer {web.environment['METRICS_TOKEN']}"}
    lines = ask(web.url, "/metrics", headers=token).content.decode().splitlines()
    assert [int(float(line.removeprefix(counted))) for line in lines if line.startswith(counted)] == [2]


def test_killed_process_is_replaced(fleet: Fleet) -> None:
    children = [child.pid for child in psutil.Process(fleet.webs[0].pid).children()]
    os.kill(children[0], signal.SIGKILL)
    wait_until(
        lambda: len({child.pid for child in psutil.Process(fleet.webs[0].pid).children()} - {children[0]}) == 2,
        seconds=15,
        what="another process",
    )
    assert {ask(fleet.webs[0].url, NOTES).status for _ in range(4)} == {200}


class _Proto:
    """A stand-in for the object through which granian sends a response."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, list[tuple[str, str]], bytes]] = []

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answers.append((status, headers, body))

    def response_iter(self, status: int, headers: list[tuple[str, str]], body: Any) -> None:
        self.answers.append((status, headers, b"".join(iter(body.__next__, None))))


def answered(monkeypatch: pytest.MonkeyPatch, response: HttpResponse | StreamingHttpResponse) -> Any:
    from project import granian, wsgi

    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        seen.update(environ)
        start_response("200 OK", list(response.items()))
        return response

    monkeypatch.setattr(wsgi, "application", application)
    proto = _Proto()
    granian.responder()(proto, {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.input": None})
    return proto.answers, seen


@pytest.mark.django_db
def test_requests_do_not_carry_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_X_FORWARDED_FOR", "198.51.100.7")
    answers, environ = answered(monkeypatch, HttpResponse(b"x"))
    assert {"DATABASE_URL", "HTTP_X_FORWARDED_FOR"}.isdisjoint(environ)
    assert [(status, body) for status, _, body in answers] == [(200, b"x")]


@pytest.mark.django_db
def test_short_stream_that_breaks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x"
        raise ConnectionResetError

    answers, _ = answered(monkeypatch, StreamingHttpResponse(chunks(), headers={"Content-Length": "9"}))
    assert [status for status, *_ in answers] == [500]


@pytest.mark.django_db
def test_long_streams_at_a_time_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    from project import granian

    monkeypatch.setattr(granian, "_THREADS", 1)
    monkeypatch.setattr(granian, "reader_slots", lambda threads: Slots(0, each=0))
    headers = {"Content-Length": "2000000"}
    answers, _ = answered(monkeypatch, StreamingHttpResponse([b"x"], headers=headers))
    assert [status for status, *_ in answers] == [503]
