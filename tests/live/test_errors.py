"""Errors of a real server process: its bytes and its log."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path

import pytest

from tests.practices.failing import SECRET
from tests.problems import assert_problem
from tests.processes import ROOT, wait_until
from tools.stack import port_free


class Server:
    """gunicorn with the routes that fail."""

    def __init__(self, *, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.port = port
        self.process = process
        self.log = log

    def connection(self) -> closing[HTTPConnection]:
        return closing(HTTPConnection("127.0.0.1", self.port, timeout=60))

    def is_listening(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def raw(self, request: bytes) -> bytes:
        """Send bytes as they are, return everything until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port = port_free()
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    command = [sys.executable, "-m", "gunicorn", "project.wsgi:application", "--no-control-socket", "--threads", "4"]
    command += ["--bind", f"127.0.0.1:{port}", "--forwarded-allow-ips", ""]
    environment = {**os.environ, "DJANGO_ENV": "test", "DJANGO_SETTINGS_MODULE": "tests.practices.failing_settings"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        server = Server(port=port, process=process, log=log)
        try:
            wait_until(server.is_listening, seconds=60, what="gunicorn to listen")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


def test_a_stream_that_breaks_never_looks_complete(server: Server) -> None:
    before = server.log.read_text()
    with server.connection() as connection:
        connection.request("GET", "/stream/3")
        response = connection.getresponse()
        assert response.status == 200
        assert response.headers["Transfer-Encoding"] == "chunked"
        with pytest.raises(IncompleteRead) as cut:
            response.read()
    assert cut.value.partial == b"0\n1\n2\n"
    wait_until(lambda: "request_failed" in server.log.read_text(), seconds=10, what="the line about it")
    told = server.log.read_text().removeprefix(before)
    assert len([line for line in told.splitlines() if "request_failed" in line]) == 1, told
    assert told.count("Traceback") == 1, told
    assert response.headers["X-Request-ID"] in told


def test_a_stream_that_fails_at_once_is_a_whole_answer(server: Server) -> None:
    with server.connection() as connection:
        connection.request("GET", "/stream/0")
        assert_problem(connection.getresponse(), 500, "internal-error")
        connection.request("GET", "/page")
        assert connection.getresponse().status == 200, "the connection is still of use"


def test_head_sends_the_length_and_no_byte_of_body(server: Server) -> None:
    answer = server.raw(b"HEAD /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"Content-Length: " in head
    assert body == b""


@pytest.mark.parametrize(
    "host",
    [
        b"Host: evil.example\r\n",
        b"Host: \r\n",
        b"Host: 127.0.0.1@evil\r\n",
        b"X-Forwarded-Host: 127.0.0.1\r\nHost: x\r\n",
    ],
)
def test_an_unknown_host_learns_nothing(server: Server, host: bytes) -> None:
    answer = server.raw(b"GET /admin/ HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), head
    assert json.loads(body)["type"].endswith("/problems/bad-host")


def test_a_deep_body_leaves_the_server_standing(server: Server) -> None:
    with server.connection() as connection:
        connection.request("POST", "/api/v1/books", "[" * 200_000, {"Content-Type": "application/json"})
        assert_problem(connection.getresponse(), 400, "malformed")
        connection.request("GET", "/page")
        assert connection.getresponse().status == 200


def test_a_client_that_leaves_in_the_middle_is_not_our_error(server: Server) -> None:
    before = server.log.read_text().count('"request_failed"')
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        head = b"POST /api/v1/books HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n"
        connection.sendall(head + b'{"title":')
    with server.connection() as connection:
        connection.request("GET", "/page")
        assert connection.getresponse().status == 200
    assert server.log.read_text().count('"request_failed"') == before


def test_nothing_secret_is_in_any_answer(server: Server) -> None:
    for path in ("/api/v1/failing/bug", "/failing/bug", "/failing/postgres-away", "/failing/forbidden"):
        answer = server.raw(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        assert SECRET.encode() not in answer
        assert b"Traceback" not in answer
