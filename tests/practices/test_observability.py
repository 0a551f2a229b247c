"""observability (135): ids, access lines, redaction, metrics, error reports."""

import io
import json
import logging
import re
import secrets
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import psycopg
import pytest
import structlog
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory, override_settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from apps.operations.fleet import Fleet
from apps.operations.stack import Stack
from apps.practices.observability import exposition, logs, metrics, redaction, store
from apps.practices.observability.access import address_shown
from apps.practices.observability.ids import current_request_id
from apps.practices.observability.middleware import ObservabilityMiddleware
from tests.fleet import ask
from tests.processes import ROOT, wait_until

TOKEN = "t" * 8 + "-metrics-token-of-a-test"


def script_run(script: str, stack: Stack, **more: str) -> str:
    """What a Python process of its own prints that runs the script under settings.test."""
    environment = {"DJANGO_SETTINGS_MODULE": "settings.test", **stack.state.urls, **more}
    command = [sys.executable, "-c", script]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=True, text=True)
    return ran.stdout


def access_lines(captured: list[Any]) -> list[Any]:
    return [line for line in captured if line["event"] == "request"]


# --- request ids and access lines ---------------------------------------------------------------------------------


@pytest.mark.django_db
def test_every_answer_has_an_id_of_ours_and_one_line(client: Client) -> None:
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
def test_an_ill_formed_inbound_id_is_dropped(client: Client, inbound: str) -> None:
    with capture_logs() as captured:
        response = client.get("/nothing-here", headers={"X-Request-ID": inbound})
    assert "parent_request_id" not in access_lines(captured)[0]
    assert response.headers["X-Request-ID"] != inbound


@pytest.mark.django_db
def test_the_line_groups_by_the_routes_template_and_names_the_user(client: Client) -> None:
    with capture_logs() as captured:
        client.get(f"/api/v1/sample/notes/{UUID(int=7)}")
    (line,) = access_lines(captured)
    assert line["route"] == "/api/v1/sample/notes/<uuid:note_id>"
    assert line["user_id"] is None


@pytest.mark.django_db
@pytest.mark.parametrize("headers", [{}, {"Content-Length": "11"}])
def test_a_streamed_answer_is_recorded_when_it_has_been_sent(headers: dict[str, str]) -> None:
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


def test_ids_of_concurrent_requests_do_not_mix() -> None:
    barrier = threading.Barrier(8)
    mixed: list[str] = []

    def view(request: Any) -> HttpResponse:
        barrier.wait(10)
        if current_request_id() != request.request_id:
            mixed.append(request.request_id)
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
def test_addresses_appear_as_the_policy_says(address: str, policy: str, shown: str | None) -> None:
    assert address_shown(address, policy) == shown


# --- redaction ------------------------------------------------------------------------------------------------------

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dGhpcyBpcyBhIHNpZ25hdHVyZQ"

# What is attacked: each text carries the word hunter2 (or a JWT) as a secret, and none may come through.
ATTACKS = [
    f"Authorization: Bearer {JWT}",
    "Authorization: Basic aHVudGVyMg==:hunter2",
    "authorization=hunter2",
    "{'HTTP_AUTHORIZATION': 'Token hunter2', 'x': 1}",
    "Cookie: a=1; sessionid=hunter2; b=hunter2",
    "Set-Cookie: __Host-access=hunter2; Path=/",
    f"the token was {JWT} and failed",
    f"https://api.example.com/reset?code=1&token={JWT}&x=1",
    "https://api.example.com/?PASSWORD=hunter2&next=/",
    "https://api.example.com/?access_token=hunter2",
    "next=%2Freset%3Ftoken%3Dhunter2%26x",
    'body was {"password": "hunter2", "email": "x"}',
    'body was {"new_password": "hunt\\"er hunter2"}',
    "body was {'password2':'hunter2'}",
    'body was {"password": "unterminated hunter2',
    "client_secret = hunter2",
    "api_key: hunter2",
    "postgresql://app:hunter2@db.internal:5432/app?sslmode=require",
    "redis://:hunter2@cache:6379/0 refused",
    "rediss://user:p@ss/hunter2@cache:6379",
    "https://hunter2@sentry.example.com/5",
    "X-API-Key: hunter2",
    "csrfmiddlewaretoken=hunter2&title=x",
    "DATABASE_PASSWORD=hunter2",
    "write to hunter2@example.com today",
    "mail=hunter2%40example.com",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_no_secret_survives_in_a_text(text: str) -> None:
    cleaned = redaction.redact_text(text)
    assert "hunter2" not in cleaned
    assert JWT.partition(".")[0] not in cleaned


@pytest.mark.parametrize("text", ATTACKS)
def test_no_secret_survives_in_a_real_line(text: str) -> None:
    event = {
        "event": text,
        "nested": {"list": [text, {"deep": text}], text: 1},
        "bytes": text.encode(),
        "error": ValueError(text),
    }
    line = logs.render_json(None, "info", logs.redact_event(None, "info", event)).decode()
    assert "hunter2" not in line
    assert JWT.partition(".")[0] not in line


@pytest.mark.parametrize(
    "name", ["password", "Authorization", "HTTP_COOKIE", "refresh_token", "apiKey", "client-secret", "JWT_KEYS", "dsn"]
)
def test_a_sensitive_name_hides_whatever_it_names(name: str) -> None:
    assert redaction.redact({name: {"any": ["thing"]}}) == {name: redaction.HIDDEN}


@pytest.mark.parametrize(
    "text",
    [
        "password authentication failed for user",
        "GET /api/v1/sample/notes/01a20563-693d-7549-8bf7-effdad9aebe3",
        "key (slug)=(a-title) already exists",
        "connection to 10.0.0.5:5432 refused",
        "took 3.5 s, 2 of 7 rows",
    ],
)
def test_harmless_text_is_left_alone(text: str) -> None:
    assert redaction.redact_text(text) == text


def test_the_literal_secrets_of_the_settings_are_hidden_wherever_they_stand() -> None:
    password = settings.DATABASES["default"].get("PASSWORD")
    text = f"opaque {settings.SECRET_KEY} words {password or ''}"
    cleaned = redaction.redact_text(text)
    assert settings.SECRET_KEY not in cleaned
    assert not password or len(password) < 8 or password not in cleaned


def test_every_secret_of_the_settings_is_known() -> None:
    with override_settings(
        TOKENS_KEYS=[{"key": "a-ring-key-of-some-length"}],
        CACHES={"default": {**settings.CACHES["default"], "LOCATION": "redis://:cache-word@127.0.0.1:9/1"}},
        CELERY_BROKER_URL="redis://:broker-word@127.0.0.1:9/2",
        EMAIL_HOST_PASSWORD="mail-word",
    ):
        known = redaction._settings_secrets()
    assert {"a-ring-key-of-some-length", "cache-word", "broker-word", "mail-word"} <= set(known)


@given(st.text(max_size=300))
@hypothesis_settings(max_examples=60, deadline=None)
def test_a_line_is_one_json_object_without_control_characters(text: str) -> None:
    line = logs.render_json(None, "info", logs.redact_event(None, "info", {"event": text, text: text}))
    assert isinstance(json.loads(line), dict)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", line.decode())


def test_a_console_line_cannot_be_forged_or_move_the_cursor() -> None:
    line = logs.ConsoleLine()(None, "info", {"event": "a\nfake line\x1b[2J", "level": "info", "x": "b\r\nc\x9b"})
    assert b"\n" not in line
    assert not re.search(rb"\x1b\[2J|\r", line)
    assert "\x9b" not in line.decode()


def test_redaction_stays_fast_on_hostile_text() -> None:
    started = time.process_time()  # the work itself, however busy the machine is
    for text in (
        "password" * 10_000,
        "a" * 100_000 + "@",
        "://" * 50_000,
        "eyJ" * 50_000,
        "token=" * 20_000,
        '"' * 90_000,
    ):
        redaction.redact_text(text)
    assert time.process_time() - started < 2


def test_lines_of_a_real_process(stack: Stack) -> None:
    """Django's own, structlog's and a traceback, as another program reads them from standard error."""
    script = """
import django; django.setup()
import logging, structlog
structlog.contextvars.bind_contextvars(request_id="r-1")
structlog.get_logger("mine").info("one", password="hunter2", note="two\\nlines")
logging.getLogger("django.request").error("Authorization: Bearer %s", "hunter2hunter2", extra={"status_code": 500})
logging.getLogger("mine").debug("unseen")
try:
    raise ValueError("token=hunter2")
except ValueError:
    structlog.get_logger("mine").exception("three")
"""
    environment = {"DJANGO_SETTINGS_MODULE": "settings.test", **stack.state.urls}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, timeout=60, check=True
    )
    assert done.stdout == b""
    assert b"hunter2" not in done.stderr
    one, two, three = [json.loads(line) for line in done.stderr.splitlines()]
    assert one["event"] == "one"
    assert one["note"] == "two\nlines"
    assert one["level"] == "info"
    assert one["logger"] == "mine"
    assert one["request_id"] == two["request_id"] == "r-1"
    assert two["status_code"] == 500
    assert "ValueError" in three["exception"]


def test_a_log_that_cannot_be_written_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int, data: Any) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("os.write", refuse)
    logs.STDERR.write(b"lost\n")


# --- metrics --------------------------------------------------------------------------------------------------------


@pytest.fixture
def numbers() -> Iterator[None]:
    """Metrics in Redis begin at nothing, and what this process counted before is not sent again."""
    store.shutdown()
    store.client().delete(store.totals_key())
    yield
    store.shutdown()


def scrape(client: Client, token: str = TOKEN) -> HttpResponse:
    return client.get("/metrics", headers={"Authorization": f"Bearer {token}"})  # type: ignore[return-value]


def test_what_a_command_counts_is_sent_before_its_end(stack: Stack, numbers: None) -> None:
    """A thread sends it: one that was cut off in the middle could hold a lock for which the end then waits for ever."""
    script = """
import django
django.setup()
from apps.practices.observability.metrics import count
count("dependency_away", dependency="a-command")
"""
    environment = {"DJANGO_SETTINGS_MODULE": "settings.test", **stack.state.urls}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, timeout=60, check=True)
    assert [field for field in store.client().hkeys(store.totals_key()) if b"a-command" in field]


@pytest.mark.parametrize("header", ["", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ü"])
def test_metrics_are_not_there_without_the_token(client: Client, header: str) -> None:
    with override_settings(OBSERVABILITY_METRICS_TOKEN=TOKEN):
        assert client.get("/metrics", headers={"Authorization": header}).status_code == 404
    with override_settings(OBSERVABILITY_METRICS_TOKEN=None):
        assert client.get("/metrics", headers={"Authorization": header}).status_code == 404


@override_settings(OBSERVABILITY_METRICS_TOKEN=TOKEN)
def test_unknown_paths_and_methods_make_no_new_series(client: Client, numbers: None) -> None:
    client.get("/warm-up")
    before = len(store.additive_samples(metrics.REGISTRY))
    for number in range(20):
        client.get(f"/nothing/{number}")
    text = scrape(client).content.decode()
    assert len(store.additive_samples(metrics.REGISTRY)) - before < 15  # buckets of the two routes, never one a path
    client.generic("BREW", "/nothing")
    assert "/nothing" not in text
    assert 'method="BREW"' not in scrape(client).content.decode()


CHILD = """
import django; django.setup()
import sys
from apps.practices.observability import metrics, store
for _ in range(int(sys.argv[1])):
    metrics.request_observe(route="/fleet", method="GET", status=int(sys.argv[2]), seconds=0.02)
metrics.count("fleet_things", int(sys.argv[1]), kind="a")
sys.exit(0) if sys.argv[3] == "exit" else None
import time, os
time.sleep(2.5)  # two flushes
os._exit(9)      # as killed: no exit hook runs
"""


@override_settings(OBSERVABILITY_METRICS_TOKEN=TOKEN)
@pytest.mark.django_db  # gauges of the ledger
def test_metrics_are_the_sum_of_all_processes_even_killed_ones(client: Client, numbers: None, stack: Stack) -> None:
    environment = {"DJANGO_SETTINGS_MODULE": "settings.test", **stack.state.urls}
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, amount, status, "kill"], cwd=ROOT, env=environment)
        for amount, status in (("3", "200"), ("4", "503"))
    ]
    assert [child.wait(60) for child in children] == [9, 9]
    text = scrape(client).content.decode()
    assert 'shipshape_http_requests_total{method="GET",route="/fleet",status="2xx"} 3.0' in text
    assert 'shipshape_http_requests_total{method="GET",route="/fleet",status="5xx"} 4.0' in text
    assert 'shipshape_http_errors_total{method="GET",route="/fleet"} 4.0' in text
    assert 'shipshape_fleet_things_total{kind="a"} 7.0' in text
    assert 'shipshape_http_request_seconds_bucket{le="0.01",method="GET",route="/fleet"} 0.0' in text
    assert 'shipshape_http_request_seconds_bucket{le="0.025",method="GET",route="/fleet"} 7.0' in text
    assert 'shipshape_http_request_seconds_count{method="GET",route="/fleet"} 7.0' in text
    assert 'shipshape_metrics_scope{scope="fleet"} 1.0' in text
    minute = int(time.time() // 60)
    stored: Any = {}
    for bucket in (minute, minute - 1):
        stored.update(store.client().hgetall(store.minute_key(bucket)))  # type: ignore[arg-type]  # a sync client
    assert b"/fleet" in b"".join(stored)
    assert 0 < store.client().ttl(store.minute_key(minute)) <= 25 * 3600 or minute  # type: ignore[operator]


@override_settings(OBSERVABILITY_METRICS_TOKEN=TOKEN)
@pytest.mark.django_db  # gauges of the ledger
def test_redis_away_means_this_process_only_and_nothing_is_lost(client: Client, numbers: None, stack: Stack) -> None:
    stack.services["redis"].kill()
    try:
        metrics.count("away_things", 5)
        started = time.monotonic()
        text = scrape(client).content.decode()
        assert time.monotonic() - started < 10
        assert 'shipshape_metrics_scope{scope="process"} 1.0' in text
        assert "shipshape_away_things_total 5.0" in text
    finally:
        stack.restart("redis")

    def told_by_the_fleet() -> bool:
        text = scrape(client).content.decode()
        return "shipshape_away_things_total 5.0" in text and 'scope="fleet"' in text

    wait_until(told_by_the_fleet, seconds=10, what="what was counted meanwhile")


def test_a_forked_child_sends_only_what_it_adds(numbers: None) -> None:
    metrics.count("forked_things", 10)
    store.fleet_totals()
    script = (
        "import django; django.setup()\n"
        "import os\n"
        "from apps.practices.observability import metrics, store\n"
        "metrics.count('forked_things', 100); store.fleet_totals()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    metrics.count('forked_things', 1); store.fleet_totals(); os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
    )
    environment = {
        "DJANGO_SETTINGS_MODULE": "settings.test",
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
        "REDIS_URL": settings.OBSERVABILITY_REDIS_URL,
    }
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True, timeout=60)
    totals = {store.field_read(field)[0]: value for field, value in store.fleet_totals().items()}
    assert totals["shipshape_forked_things_total"] == 111


def test_what_a_process_has_sent_is_remembered_in_little_memory() -> None:
    """Every process keeps a number a series; a busy service has a thousand of them."""
    registry = CollectorRegistry()
    counter = Counter("things", "Things.", ["kind"], registry=registry)
    for number in range(1_000):
        counter.labels(kind=str(number)).inc()
    tracemalloc.start()
    try:
        numbers = store.additive_samples(registry)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 1_000 * len(numbers)


def test_a_counters_name_is_checked() -> None:
    with pytest.raises(ValueError, match="snake_case"):
        metrics.count("Not A Name")


@pytest.mark.django_db  # gauges of the ledger
def test_the_exposition_is_prometheus_text(numbers: None) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    metrics.request_observe(route="/x", method="GET", status=200, seconds=0.2)
    families = {family.name: family for family in text_string_to_metric_families(exposition.exposition().decode())}
    assert families["shipshape_http_request_seconds"].type == "histogram"
    assert families["shipshape_http_requests"].documentation == "Requests answered."


# --- error reports --------------------------------------------------------------------------------------------------


@pytest.fixture
def sentry() -> Iterator[tuple[str, list[bytes]]]:
    """Somebody else's server: takes envelopes and keeps them."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(_decompressed(body, self.headers.get("Content-Encoding")))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://public@127.0.0.1:{server.server_address[1]}/1", received
    server.shutdown()
    server.server_close()


def _decompressed(body: bytes, encoding: str | None) -> bytes:
    import gzip

    return gzip.GzipFile(fileobj=io.BytesIO(body)).read() if encoding == "gzip" else body


REPORT = """
import django; django.setup()
import logging, structlog, sentry_sdk
from django.test import Client
secret_local = "hunter2"
client = Client(raise_request_exception=False)
response = client.get("/api/v1/sample/notes/broken?token=hunter2", headers={"X-Api-Key": "hunter2", "Cookie": "session=hunter2"})
print(response.status_code, response.headers["X-Request-ID"])
try:
    raise RuntimeError("password=hunter2 for hunter2@example.com")
except RuntimeError:
    structlog.get_logger("mine").exception("failed")
sentry_sdk.flush(10)
"""


def test_errors_reach_sentry_redacted_and_with_their_request(sentry: tuple[str, list[bytes]], stack: Stack) -> None:
    dsn, received = sentry
    status, request_id = script_run(REPORT, stack, SENTRY_DSN=dsn).split()
    assert status == "500"
    text = b"\n".join(received).decode()
    assert "hunter2" not in text
    events = [json.loads(line) for line in text.splitlines() if '"exception"' in line]
    values = [event["exception"]["values"][-1] for event in events]
    assert [value["type"] for value in values].count("RuntimeError") == 2, "each error once"
    assert {event["environment"] for event in events} == {"test"}
    assert request_id in {(event.get("tags") or {}).get("request_id") for event in events}
    assert not any("vars" in frame for value in values for frame in value["stacktrace"]["frames"])


def test_without_a_dsn_sentry_is_not_even_imported(stack: Stack) -> None:
    script = "import django; django.setup(); import sys; print('sentry_sdk' in sys.modules)"
    assert script_run(script, stack).strip() == "False"


def test_djangos_loggers_have_no_second_handler() -> None:
    assert logging.getLogger("django").handlers == []
    assert logging.getLogger("django.server").handlers == []


# --- across processes -----------------------------------------------------------------------------------------------


def test_the_id_of_a_request_follows_its_job_into_the_worker(fleet: Fleet) -> None:
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
