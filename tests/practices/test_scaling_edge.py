"""scaling: the edge, a real Caddy with deploy/Caddyfile, in front of instances that misbehave."""

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from tests.fleet import ask
from tests.processes import wait_until
from tests.settings.test_gunicorn import gunicorn_setting
from tools.fleet import ROOT, Fleet
from tools.stack import port_free
from tools.stack.servers import Caddy

# "Connection: close", or the edge may send a POST over a connection that is about to be closed, and may not repeat it.
FOUND = (
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\nX-Request-ID: x\r\n"
    b"Content-Type: application/json\r\n\r\n{}"
)
CLOSED = b""
TRIES = 3  # the first, and two more
PATH = "/api/v1/sample/notes"


class Instance:
    """Answers `/readyz`, notes every other request and answers it with ``says``: nothing closes the connection.

    A second socket is bound to the port all the time and does not listen: while the instance is away the kernel refuses
    connections, and nobody else can be given the port.
    """

    def __init__(self, says: bytes) -> None:
        self.says = says
        self.asked: list[str] = []
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as create_server() does: both may be bound
        self._held.bind(("127.0.0.1", 0))
        self.port = self._held.getsockname()[1]

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener.fileno() != -1:
            self.refuse()
        self._held.close()

    def listen(self) -> None:
        """Accept connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def refuse(self) -> None:
        """Refuse connections, as the port of a process that has ended does."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            received = b""
            while b"\r\n\r\n" not in received:
                if not (part := connection.recv(65536)):
                    return
                received += part
            line = received.split(b"\r\n", 1)[0].decode()
            if " /readyz " in line:
                connection.sendall(FOUND)
                return
            self.asked.append(line)
            connection.sendall(self.says)


class Edge:
    """The edge before some instances."""

    def __init__(self, folder: Path, instances: list[Instance]) -> None:
        self.folder = folder
        self.https_port, self.http_port = port_free(), port_free()
        self.url, self.plain_url = f"https://localhost:{self.https_port}", f"http://localhost:{self.http_port}"
        self.caddy = Caddy(
            directory=folder,
            durable=False,
            caddyfile=ROOT / "deploy" / "Caddyfile",
            port=self.https_port,
            environment={
                "PUBLIC_URL": self.url,
                "EDGE_HTTP_PORT": str(self.http_port),
                "EDGE_HTTPS_PORT": str(self.https_port),
                "EDGE_UPSTREAMS": " ".join(f"127.0.0.1:{one.port}" for one in instances),
            },
        )

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.caddy.data / "caddy/pki/authorities/local/root.crt"))

    def ask(self, path: str = PATH, **options: Any) -> Any:
        return ask(self.url, path, context=self.context(), **options)

    def __enter__(self) -> Self:
        self.caddy.start()
        wait_until(self._is_healthy, seconds=20, what="the edge to serve")
        return self

    def _is_healthy(self) -> bool:
        try:
            return bool(self.ask("/readyz").status == 200)
        except (OSError, ssl.SSLError):
            return False

    def __exit__(self, *_: object) -> None:
        self.caddy.stop()


@pytest.fixture
def instances() -> Iterator[list[Instance]]:
    with ExitStack() as opened:
        yield [opened.enter_context(Instance(CLOSED)) for _ in range(2)]


@pytest.fixture
def edge(tmp_path: Path, instances: list[Instance]) -> Iterator[Edge]:
    with Edge(tmp_path, instances) as running:
        yield running


def _asked(instances: list[Instance]) -> int:
    return sum(len(one.asked) for one in instances)


def test_read_that_crashes_instances_is_tried_three_times(edge: Edge, instances: list[Instance]) -> None:
    answer = edge.ask()
    assert (answer.status, answer.headers["content-type"]) == (502, "application/problem+json")
    assert 2 <= _asked(instances) <= TRIES
    assert all(one.asked for one in instances), "the second try went to the other"


def test_write_that_broke_off_is_tried_once(edge: Edge, instances: list[Instance]) -> None:
    assert edge.ask(method="POST", body={}).status == 502
    assert _asked(instances) == 1


def test_read_that_broke_off_is_answered_by_another_instance(edge: Edge, instances: list[Instance]) -> None:
    instances[1].says = FOUND
    for _ in range(4):
        assert edge.ask().status == 200
    assert len(instances[0].asked) <= 1, "and the one that failed is left out for a while"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused_connection_is_retried_with_any_method(edge: Edge, instances: list[Instance], method: str) -> None:
    instances[1].says = FOUND
    instances[0].refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", instances[0].port), timeout=5).close()
    body = {} if method == "POST" else None
    assert [edge.ask(method=method, body=body).status for _ in range(4)] == [200] * 4
    instances[0].listen()


def test_requests_wait_for_failed_instances(edge: Edge, instances: list[Instance]) -> None:
    """Requests still wait for an instance after one request has crashed both."""
    assert edge.ask().status == 502
    for one in instances:
        one.says = FOUND
    assert edge.ask(method="POST", body={}).status == 200


def test_edge_closes_idle_connections_first() -> None:
    adapted = subprocess.run(
        [Path(sys.executable).parent / "caddy", "adapt", "--config", "deploy/Caddyfile", "--adapter", "caddyfile"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=30,
    )
    _, _, transport = adapted.stdout.partition(b'"keep_alive":')
    idle = json.JSONDecoder().raw_decode(transport.decode())[0]["idle_timeout"] / 1e9
    keepalive = int(gunicorn_setting("keepalive"))
    assert idle < 60 < 90 < keepalive <= 100, "Heroku's router keeps a connection for 90 seconds"


# Errors of the edge itself


SECURITY = [
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "origin-agent-cluster",
    "permissions-policy",
    "referrer-policy",
    "strict-transport-security",
    "x-content-type-options",
    "x-dns-prefetch-control",
    "x-download-options",
    "x-frame-options",
    "x-permitted-cross-domain-policies",
    "x-xss-protection",
]


def _raw(edge: Edge | Fleet, request: bytes, *, context: ssl.SSLContext) -> tuple[int, dict[str, str], bytes]:
    """Send bytes over TLS unchanged; return the status, the headers by lower-case name and the body."""
    port = int(edge.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as secure,
    ):
        secure.sendall(request)
        return _parsed(secure)


def _parsed(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    received = b""
    while part := connection.recv(65536):
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split(" ")[1]), {name.lower(): value for name, value in headers.items()}, body


def _is_the_edges(status: int, headers: dict[str, str], body: bytes) -> None:
    """Assert a problem document that names no software."""
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == status
    assert "server" not in headers
    assert "via" not in headers


CLOSE = b"Connection: close\r\n\r\n"
LONG = b"a" * 8300


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /api/v1/sample/notes?search=" + LONG + b" HTTP/1.1\r\nHost: localhost\r\n" + CLOSE, 414),
        (b"GET /api/v1/sample/notes HTTP/1.1\r\nHost: localhost\r\nX-Long: " + LONG + b"\r\n" + CLOSE, 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(120)) + CLOSE, 431),
        (b"GET /api/v1/sample/notes HTTP/1.1\r\nHost: evil.example\r\n" + CLOSE, 421),
        (b"GET /api/v1/sample/notes HTTP/1.0\r\n\r\n", 421),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n" + CLOSE, 421),
        (b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n" + CLOSE, 405),
        (b"POST /api/v1/sample/notes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n" + CLOSE, 413),
    ],
    ids=["line", "header", "headers", "host", "no host", "tunnel", "tunnel here", "body"],
)
def test_errors_before_the_application_are_problems(fleet: Fleet, request_bytes: bytes, status: int) -> None:
    context = fleet.ssl_context()
    found, headers, body = _raw(fleet, request_bytes, context=context)
    assert found == status
    _is_the_edges(found, headers, body)
    applications = ask(fleet.url, "/api/v1/nowhere", context=context).headers
    assert {name: headers.get(name) for name in SECURITY} == {name: applications.get(name) for name in SECURITY}


def test_application_errors_pass_the_edge(fleet: Fleet) -> None:
    context = fleet.ssl_context()
    page = ask(fleet.url, "/nowhere", headers={"Accept": "text/html"}, context=context)
    assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"edge" not in page.content
    assert ask(fleet.url, "/api/v1/sample/notes?search=" + "a" * 7000, context=context).status == 400


def test_plain_http_for_another_host_is_421(fleet: Fleet) -> None:
    port = int(fleet.plain_url.rpartition(":")[2])
    for line in (b"GET / HTTP/1.1", b"CONNECT evil.example:80 HTTP/1.1"):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            plain.sendall(line + b"\r\nHost: evil.example\r\n" + CLOSE)
            status, headers, body = _parsed(plain)
        assert status == 421
        _is_the_edges(status, headers, body)
        assert "strict-transport-security" not in headers, "which means nothing over plain HTTP (RFC 6797, 7.2)"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [(b"GET\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 30_000 + b"\r\n\r\n", 431)],
    ids=["malformed", "headers"],
)
def test_errors_of_caddys_parser_are_text(fleet: Fleet, request_bytes: bytes, status: int) -> None:
    """Caddy answers in plain text, as docs/scaling.md says: none of its handlers runs."""
    found, headers, body = _raw(fleet, request_bytes, context=fleet.ssl_context())
    assert (found, headers) == (status, {"content-type": "text/plain; charset=utf-8", "connection": "close"})
    assert len(body) < 50
