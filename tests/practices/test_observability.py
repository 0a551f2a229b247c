"""observability: request ids, the access line of each request, and what of a request reaches its job."""

import math
import random
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest
import structlog
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory
from structlog.testing import capture_logs

from apps.operations.dashboard.certificate import Certificate, certificate
from apps.practices.mechanisms.facts import facts_of
from apps.practices.mechanisms.ids import current_request_id
from apps.practices.mechanisms.proxies import address_shown
from apps.practices.observability.middleware import ObservabilityMiddleware
from tests.apps.operations.pages import rows_of
from tests.fleet import ask
from tests.processes import ROOT, wait_until
from tools.fleet import Fleet, Service
from tools.stack import port_free


def access_lines(captured: list[Any]) -> list[Any]:
    return [line for line in captured if line["event"] == "request"]


@pytest.mark.django_db
def test_every_response_has_a_new_id_and_one_line(client: Client) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as captured:
        response = client.get("/api/v1/nothing-here?token=secret", headers={"X-Request-ID": "theirs-12345678"})
    request_id = response.headers["X-Request-ID"]
    assert UUID(request_id).version == 7
    (line,) = access_lines(captured)
    assert line["request_id"] == request_id
    assert line["parent_request_id"] == "theirs-12345678"
    assert (line["method"], line["status"], line["route"]) == ("GET", 404, "(unmatched)")
    assert line["path"] == "/api/v1/nothing-here"
    assert line["bytes"] == len(response.content)
    assert line["duration_ms"] > 0
    assert "secret" not in str(captured)


@pytest.mark.parametrize("inbound", ["short", "x" * 129, "new\nline-injection", "<script>alert(1)", "ünïcode-letters"])
def test_malformed_inbound_id_is_ignored(client: Client, inbound: str) -> None:
    with capture_logs() as captured:
        response = client.get("/nothing-here", headers={"X-Request-ID": inbound})
    assert "parent_request_id" not in access_lines(captured)[0]
    assert response.headers["X-Request-ID"] != inbound


@pytest.mark.django_db
def test_access_line_has_route_template_and_user(client: Client) -> None:
    with capture_logs() as captured:
        client.get(f"/api/v1/sample/notes/{UUID(int=7)}")
    (line,) = access_lines(captured)
    assert line["route"] == "/api/v1/sample/notes/<uuid:note_id>"
    assert line["user_id"] is None


@pytest.mark.django_db
@pytest.mark.parametrize("headers", [{}, {"Content-Length": "11"}])
def test_stream_is_recorded_after_it_has_been_sent(headers: dict[str, str]) -> None:
    seen: list[str | None] = []

    def chunks() -> Iterator[bytes]:
        seen.append("first")
        yield b"four"
        yield b"seven77"

    def view(request: Any) -> StreamingHttpResponse:
        seen.append(current_request_id())
        return StreamingHttpResponse(chunks(), headers=headers)

    middleware = ObservabilityMiddleware(view)
    with capture_logs() as captured:
        response = middleware(RequestFactory().get("/stream"))
        assert access_lines(captured) == []
        assert b"".join(response) == b"fourseven77"  # type: ignore[arg-type]  # the stream's chunks
        response.close()
    (line,) = access_lines(captured)
    assert line["bytes"] == 11
    assert seen == [response.headers["X-Request-ID"], "first"]
    assert current_request_id() is None


def test_concurrent_requests_keep_their_ids() -> None:
    barrier = threading.Barrier(8)
    mixed: list[str] = []

    def view(request: Any) -> HttpResponse:
        barrier.wait(10)
        if current_request_id() != facts_of(request).request_id:
            mixed.append(facts_of(request).request_id)
        return HttpResponse()

    middleware = ObservabilityMiddleware(view)
    threads = [threading.Thread(target=lambda: middleware(RequestFactory().get("/"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert mixed == []


@pytest.mark.parametrize(
    ("address", "policy", "shown"),
    [
        ("203.0.113.77", "full", "203.0.113.77"),
        ("203.0.113.77", "truncated", "203.0.113.0"),
        ("2001:db8:1:2:3::4", "truncated", "2001:db8:1::"),
        ("::ffff:203.0.113.77", "truncated", "203.0.113.0"),
        ("203.0.113.77", "none", None),
        ("not an address", "full", None),
    ],
)
def test_addresses_follow_log_addresses(address: str, policy: str, shown: str | None) -> None:
    assert address_shown(address, policy) == shown


def test_request_id_reaches_the_worker(fleet: Fleet) -> None:
    web, worker = fleet.webs[0], fleet.worker
    assert worker is not None
    account = {"email": f"{secrets.token_hex(6)}@example.com", "password": secrets.token_urlsafe(24)}
    assert ask(web.url, "/api/v1/auth/register", method="POST", body=account).status == 201
    access = ask(web.url, "/api/v1/auth/login", method="POST", body=account).json()["access"]
    bearer = {"Authorization": f"Bearer {access}"}
    answer = ask(web.url, "/api/v1/sample/notes/counts", method="POST", body={"seconds": 0}, headers=bearer)
    assert answer.status == 202
    request_id = answer.headers["x-request-id"]
    with psycopg.connect(web.environment["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT request_id FROM jobs_job WHERE id = %s", [answer.json()["id"]]).fetchone()
    assert row is not None
    assert str(row[0]) == request_id
    wait_until(
        lambda: any(line.get("request_id") == request_id for line in worker.lines()),
        seconds=30,
        what="the worker's log to name the request",
    )
    (line,) = [found for found in web.lines() if found.get("request_id") == request_id and found["event"] == "request"]
    assert line["user_id"]
    assert line["route"] == "/api/v1/sample/notes/counts"


BUSY = "/api/v1/sample/notes/busy"
VISIT = """
from uuid import uuid4
import django; django.setup()
from django.conf import settings
from django.test import Client
from apps.jobs.services import job_submit
from tests.apps.accounts.factories import admin_sign_in, user_create
client = Client()
admin_sign_in(client, user_create(email=f"{uuid4().hex}@example.com", is_staff=True, is_superuser=True))
for _ in range(6):
    job_submit(kind="sample.count", owner=None, parameters={"seconds": 1})
print(f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}")
"""


def test_operations_page_sums_instances_and_workers(fleet: Fleet) -> None:
    environment, path = fleet.webs[0].environment, BUSY

    def page(web: Service) -> str:
        for _ in range(20):
            answer = ask(web.url, "/admin/operations/?range=1h", headers={"Cookie": cookie})
            assert answer.status == 200
            if b"The whole service" in answer.content:  # and not one process, as when Redis took half a second
                return answer.content.decode()
        raise AssertionError("Redis did not answer")

    def shown(web: Service, caption: str, name: str, place: int = 1) -> float:
        return sum(float(row[place].replace(",", "")) for row in rows_of(page(web), caption) if row[0] == name)

    second = Service(name="worker-2", folder=fleet.folder, environment=environment)
    second.start()
    try:
        with psycopg.connect(environment["DATABASE_URL"]) as database:

            def count(sql: str) -> int:
                with database.transaction():
                    found = database.execute(sql).fetchone()  # type: ignore[call-overload]  # two constants below
                return int(found[0]) if found else 0

            alive = "SELECT count(*) FROM jobs_jobworker WHERE seen_at > now() - interval '10 seconds'"
            wait_until(lambda: count(alive) == 2, seconds=60, what="the second worker")
            ran = subprocess.run(
                [sys.executable, "-c", VISIT],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            cookie = ran.stdout.splitlines()[-1]
            before = {web.url: shown(web, "By route", f"GET {path}") for web in fleet.webs}
            for web, number in zip(fleet.webs, (7, 11), strict=True):
                for _ in range(number):
                    assert ask(web.url, f"{path}?seconds=0").status == 200
            for web in fleet.webs:
                wait_until(
                    lambda web=web: shown(web, "By route", f"GET {path}") == before[web.url] + 18,
                    seconds=15,
                    what="both instances to show the requests of both",
                )
            done = (
                "SELECT count(*) FROM jobs_job WHERE kind = 'sample.count' AND state = 'succeeded' AND owner_id IS NULL"
            )
            wait_until(lambda: count(done) == 6, seconds=60, what="the jobs")
            assert count(done.replace("count(*)", "count(DISTINCT worker)")) == 2
            wait_until(
                lambda: shown(fleet.webs[0], "By kind", "sample.count") >= 6,
                seconds=15,
                what="the jobs of both workers",
            )
    finally:
        second.terminate()
        second.wait(60)

    def row() -> list[str]:
        rows = rows_of(page(fleet.webs[0]), "By route")
        return next((row for row in rows if row[0] == f"HEAD {BUSY}"), ["", "0"])

    _quantiles_are_right(fleet, row)
    pools = [row for row in rows_of(page(fleet.webs[1]), "Connection pools of web processes") if row[1] != "—"]
    assert len(pools) >= 2
    assert all(0 <= float(used) <= float(most) and most != "0" for _, used, most, _ in pools)
    roles = [row[0].partition(" ")[0] for row in rows_of(page(fleet.webs[1]), "Processes that are alive")]
    assert roles.count("web") >= 2
    assert roles.count("worker") >= 1


def _quantiles_are_right(fleet: Fleet, row: Callable[[], list[str]]) -> None:
    """Ask both instances, and compare the page's quantiles with the access lines, and with what the clients have seen."""
    chance = random.Random(1)
    paths = [f"{BUSY}?seconds={chance.lognormvariate(math.log(0.02), 0.6):.4f}" for _ in range(400)]

    def timed(number: int) -> float:
        answer = ask(fleet.webs[number % 2].url, paths[number], method="HEAD")
        assert answer.status == 200
        return answer.seconds * 1000

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(timed, range(len(paths))))
    wait_until(lambda: row()[1] == str(len(paths)), seconds=15, what="the page to show the requests of both instances")
    logged = [
        line["duration_ms"]
        for web in fleet.webs
        for line in web.lines()
        if line["event"] == "request" and (line["method"], line["route"]) == ("HEAD", BUSY)
    ]
    assert len(logged) == len(paths)
    for place, q in ((3, 0.5), (4, 0.95)):
        shown, of_lines, of_clients = float(row()[place]), exact(q, logged), exact(q, seen)
        assert shown == pytest.approx(of_lines, rel=0.1)
        assert shown <= of_clients * 1.1, "a client also waits for its connection"


def exact(q: float, values: list[float]) -> float:
    """Return a quantile, by the nearest rank."""
    return sorted(values)[math.ceil(q * len(values)) - 1]


def test_days_left_of_the_edges_certificate(fleet: Fleet, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(url: str) -> Certificate:
        settings.PUBLIC_URL = url
        certificate.cache_clear()  # type: ignore[attr-defined]  # cachetools adds it
        return certificate()

    assert "does not trust" in asked(fleet.url).reason
    monkeypatch.setenv("SSL_CERT_FILE", str(fleet.authority))
    found = asked(fleet.url)
    assert (found.host, found.reason) == ("localhost", "")
    assert 0 < (found.days or 0) < 2, "Caddy's own authority gives 12 hours"
    assert "did not answer" in asked(f"https://localhost:{port_free()}").reason
    assert "Set it" in asked("http://localhost").reason
    certificate.cache_clear()  # type: ignore[attr-defined]  # cachetools adds it
