"""scaling: two instances behind the edge share all state, and nothing is lost when one dies."""

import http.client
import json
import platform
import re
import secrets
import signal
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from project.shares import CLOSE_SECONDS, WAITS, Share
from tests.fleet import Load, all_started, ask
from tests.processes import ROOT, wait_until
from tools.fleet import Fleet

# The edge never repeats a POST, so a response that is not the application's is a failure.
CALLS = [
    ("GET", "/api/v1/sample/notes", 200),
    ("POST", "/api/v1/sample/notes", 401),
    ("GET", "/api/v1/sample/notes/busy?seconds=0.05", 200),
]


def test_edge_certificate_is_from_its_own_authority(fleet: Fleet) -> None:
    assert ask(fleet.url, "/healthz", context=fleet.ssl_context()).status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(fleet.url, "/healthz", context=ssl.create_default_context())


def test_plain_http_redirects_pages_and_refuses_the_api(fleet: Fleet) -> None:
    page = ask(fleet.plain_url, "/admin/?next=%2Fx", headers={"Host": "localhost"})
    assert (page.status, page.headers["location"]) == (308, f"{fleet.url}/admin/?next=%2Fx")
    for method, path in (("GET", "/api/v1/sample/notes"), ("POST", "/admin/login/")):
        call = ask(fleet.plain_url, path, method=method, headers={"Host": "localhost"})
        assert (call.status, call.headers["content-type"]) == (403, "application/problem+json")
        assert call.json()["type"] == f"{fleet.url}/problems/https-required"


def test_both_instances_answer(fleet: Fleet) -> None:
    marker = secrets.token_hex(8)
    with Load(fleet, [("GET", f"/api/v1/{marker}", 404)]) as load:
        time.sleep(1)
    assert load.failed == []
    for web in fleet.webs:
        assert any(line.get("path") == f"/api/v1/{marker}" for line in web.lines())


def test_instances_share_state(fleet: Fleet) -> None:
    """Register with the first, sign in with the second, read from the first, sign out with the second."""
    first, second = (web.url for web in fleet.webs)
    account = {"email": f"{secrets.token_hex(6)}@example.com", "password": secrets.token_urlsafe(24)}
    assert ask(first, "/api/v1/auth/register", method="POST", body=account).status == 201
    tokens = ask(second, "/api/v1/auth/login", method="POST", body=account).json()
    bearer = {"Authorization": f"Bearer {tokens['access']}"}
    assert ask(first, "/api/v1/me", headers=bearer).json()["email"] == account["email"]
    assert ask(second, "/api/v1/auth/logout", method="POST", body={}, headers=bearer).status == 204
    wait_until(
        lambda: ask(first, "/api/v1/me", headers=bearer).status == 401,
        seconds=10,
        what="a sign-out in one process to reach the other",
    )


def test_each_instance_serves_the_fleets_metrics(fleet: Fleet) -> None:
    token = {"Authorization": f"Bearer {fleet.webs[0].environment['METRICS_TOKEN']}"}
    wanted = (
        'http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",'
        'http_route="/api/v1/sample/notes/busy"} '
    )
    for web in fleet.webs:
        assert ask(web.url, "/api/v1/sample/notes/busy?seconds=0").status == 200

    def reported(url: str) -> float:
        lines = ask(url, "/metrics", headers=token).content.decode().splitlines()
        return next((float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted)), 0.0)

    first, second = (web.url for web in fleet.webs)
    wait_until(lambda: reported(first) == reported(second) >= 2, seconds=15, what="both to report both requests")


def test_client_headers_about_proxies_are_removed(fleet: Fleet) -> None:
    marker = secrets.token_hex(8)
    forged = {
        "X-Forwarded-For": "198.51.100.1",
        "X_Forwarded_For": "198.51.100.2",
        "Forwarded": "for=198.51.100.3",
        "X-Real-IP": "198.51.100.4",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example.com",
        "X-Forwarded-Ssl": "off",
    }
    answer = ask(fleet.url, f"/api/v1/{marker}", headers=forged, context=fleet.ssl_context())
    assert answer.status == 404
    lines = [line for web in fleet.webs for line in web.lines() if line.get("path") == f"/api/v1/{marker}"]
    assert [line["address"] for line in lines] == ["127.0.0.1"]


@pytest.mark.parametrize("path", ["/api/v1/nowhere", "/api/v1/sample/notes/busy?seconds=0"])
def test_response_is_sent_in_one_piece(fleet: Fleet, path: str) -> None:
    """Send headers and body together: a process killed in between would leave half a response."""
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.9\r\n\r\n"
    with socket.create_connection(("127.0.0.1", fleet.webs[0].port), timeout=10) as connection:
        for _ in range(60):
            connection.sendall(head.encode())
            headers, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            length = int(re.search(rb"(?i)content-length: (\d+)", headers)[1])
            assert len(body) == length > 0


def test_requests_that_arrive_together_are_answered_in_turn(fleet: Fleet) -> None:
    """Send three requests in one piece, then a fourth one. Nothing is left to read on the connection after the first."""
    paths = [f"/api/v1/{secrets.token_hex(8)}" for _ in range(4)]
    requests = [
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.9\r\n\r\n"
        for path in paths
    ]
    with socket.create_connection(("127.0.0.1", fleet.webs[0].port), timeout=10) as connection:
        answered = b""
        for sent, answers in (("".join(requests[:3]), 3), (requests[3], 4)):
            connection.sendall(sent.encode())
            while answered.count(b'"request_id"') < answers:
                answered += connection.recv(65536)
    assert re.findall(rb'"instance":"(/api/v1/[^"]+)"', answered) == [path.encode() for path in paths]


def test_half_sent_bodies_hold_no_thread(fleet: Fleet) -> None:
    port = int(fleet.url.rpartition(":")[2])
    context = fleet.ssl_context()
    held = []
    try:
        for _ in range(12):  # the instances have six threads together
            raw = socket.create_connection(("127.0.0.1", port), timeout=10)
            secure = context.wrap_socket(raw, server_hostname="localhost")
            secure.sendall(
                b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b'Content-Length: 1000\r\n\r\n{"title": '
            )
            held.append(secure)
        time.sleep(0.5)
        assert ask(fleet.url, "/api/v1/sample/notes", context=context, timeout=5).status == 200
    finally:
        for secure in held:
            secure.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 9000 + b"\r\n\r\n", b"431"),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"400",
        ),
    ],
)
def test_server_errors_leak_nothing(fleet: Fleet, request_bytes: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", fleet.webs[0].port or 0), timeout=10) as connection:
        connection.sendall(request_bytes)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.split(b" ")[1] == status
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == int(status)
    assert b"application/problem+json" in answer
    for word in (b"Traceback", b"site-packages", b"27.0", bytes(ROOT), b".py"):
        assert word not in answer


def test_large_body_is_refused_early(fleet: Fleet) -> None:
    port = int(fleet.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
        fleet.ssl_context().wrap_socket(raw, server_hostname="localhost") as secure,
    ):
        secure.sendall(
            b"POST /api/v1/sample/notes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100000000\r\n\r\n"
        )
        secure.sendall(b" " * 2**19)  # Caddy reads a quarter of a megabyte before it answers
        answer = secure.recv(65536)
    assert answer.split(b" ")[1] == b"413"
    assert b"application/problem+json" in answer


def test_nothing_connects_before_the_fork(fleet: Fleet) -> None:
    ask(fleet.webs[0].url, "/api/v1/sample/notes")
    master = psutil.Process(fleet.webs[0].pid)
    assert [found.status for found in master.net_connections()] == [psutil.CONN_LISTEN]
    assert any(
        found.status == psutil.CONN_ESTABLISHED for child in master.children() for found in child.net_connections()
    )


def test_process_with_more_connections_leaves_new_ones_to_another() -> None:
    busy, idle = Share(), Share()
    try:
        busy.update(5)
        idle.update(4)
        assert not busy.must_wait()
        idle.update(3)
        assert [busy.must_wait() for _ in range(WAITS + 1)] == [True] * WAITS + [False], "the other may be stuck"
        idle.update(3, accepted=1)
        assert (busy.must_wait(), idle.must_wait(), busy.must_close()) == (True, False, False)
        busy.update(9)
        assert not busy.must_close(), "it has just closed one"
        time.sleep(CLOSE_SECONDS)
        assert busy.must_close()
        idle.leave()
        assert not busy.must_wait(), "nobody is left"
        busy.leave()
        idle = Share()
        idle.update(0)
        assert busy.must_wait(), "a process that stops leaves all to the others"
    finally:
        busy.leave()
        idle.leave()


def test_processes_of_an_instance_share_its_connections(fleet: Fleet) -> None:
    """Keep 32 connections, while a process is added, killed, and stopped. Each gets at least a third of them."""
    web = fleet.webs[0]
    master = psutil.Process(web.pid)
    kept = [http.client.HTTPConnection("127.0.0.1", web.port or 0, timeout=10) for _ in range(32)]

    def asked_evenly() -> bool:
        """Ask on each connection, and return whether two processes have at least a third of them each."""
        for connection in kept:
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                connection.close()  # its process was killed
        held = [
            sum(found.status == psutil.CONN_ESTABLISHED and found.laddr.port == web.port for found in connections)
            for connections in (child.net_connections("tcp") for child in master.children())
        ]
        return len(held) == 2 and min(held) >= sum(held) / 3 > 10

    try:
        asked_evenly()
        master.send_signal(signal.SIGTTIN)
        wait_until(asked_evenly, seconds=20, what="an added process to get its share")
        [first, second] = master.children()
        first.kill()
        wait_until(lambda: len(set(master.children()) - {first}) == 2, seconds=10, what="a new process")
        wait_until(asked_evenly, seconds=20, what="a replaced process to get its share")
        second.suspend()  # while it is stuck, new connections do not wait for it
        for _ in range(20):
            kept.append(http.client.HTTPConnection("127.0.0.1", web.port or 0, timeout=2))
            kept[-1].request("GET", "/healthz")
            assert kept[-1].getresponse().status == 200
    finally:
        for connection in kept:
            connection.close()
        web.kill()
        all_started(fleet)


def test_killed_instance_fails_no_read(fleet: Fleet) -> None:
    with Load(fleet, [CALLS[0], CALLS[2]]) as load:
        time.sleep(1)
        fleet.webs[0].kill()
        time.sleep(2.5)
        before_return = load.answered
        fleet.webs[0].start()
        time.sleep(0.5)
    assert load.failed == []
    assert load.answered > before_return > 10


def test_rolling_restart_fails_no_request(fleet: Fleet) -> None:
    with Load(fleet, CALLS) as load:
        for web in fleet.webs:
            time.sleep(0.5)
            web.terminate()
            assert web.wait(27) == 0
            web.start()
            time.sleep(1.5)  # a health interval, so that the edge has seen it
    assert load.failed == []
    assert load.answered > 20


def test_edge_without_instances_answers_503(fleet: Fleet) -> None:
    try:
        for web in fleet.webs:
            web.kill()
        answer = ask(fleet.url, "/api/v1/sample/notes", context=fleet.ssl_context())
        assert answer.status in (502, 503)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status
        assert int(answer.headers["retry-after"]) >= 1
        assert "server" not in answer.headers
    finally:
        all_started(fleet)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="bin/web sets options of glibc's allocator")
def test_password_hashes_return_their_memory(fleet: Fleet) -> None:
    """Three threads hash at the same time, 19 MiB each."""
    [process] = psutil.Process(fleet.webs[0].pid).children()

    def attempt(number: int) -> int:
        body = {"email": f"nobody-{number}@example.com", "password": "wrong password"}
        return ask(fleet.webs[0].url, "/api/v1/auth/login", method="POST", body=body).status

    attempt(0)
    before = process.memory_info().rss
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(attempt, range(24))) == {401}
    assert process.memory_info().rss - before < 25 * 2**20
