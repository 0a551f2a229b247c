"""observability: errors and schedules reach Sentry without a secret, and neither requests nor a stop wait for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from apps.practices.observability.sentry import monitor_config
from tests.processes import script_run
from tests.receivers import Receiver, receiver_running
from tools.stack import Stack


@pytest.fixture
def sentry() -> Iterator[Receiver]:
    with receiver_running() as receiver:
        yield receiver


ASKED = """
import project.wsgi
from django.test import RequestFactory
def ask(path, **headers):
    "Ask as a server does, so that Sentry sees the whole request."
    answered = []
    response = project.wsgi.application(
        RequestFactory().get(path, headers=headers).environ, lambda status, fields: answered.extend((status, dict(fields)))
    )
    response.close()
    return int(answered[0][:3]), answered[1]["X-Request-ID"]
"""
REPORT = f"""{ASKED}
import logging, structlog, sentry_sdk
from django.contrib.auth import get_user_model
from django.test import Client
from django.db import OperationalError
from apps.practices.errors import NotFound
from apps.practices.errors.handler import respond
from apps.practices.observability.work import Monitor, working
secret_local = "hunter2"
client = Client(raise_request_exception=False)
stranger = {{"X-Api-Key": "hunter2", "Cookie": "session=hunter2", "sentry-trace": "{7:032}-{7:016}-1"}}
print(*ask("/api/v1/sample/notes/broken?token=hunter2", **stranger))
log = structlog.get_logger("mine")
try:
    raise RuntimeError("password=hunter2 for hunter2@example.com")
except RuntimeError:
    log.exception("failed")

# Anticipated: what a client did, and a dependency that is away.
client.get("/api/v1/nothing-here"), client.post("/api/v1/auth/login", "[", content_type="application/json")
for error in (NotFound("anticipated"), OperationalError("anticipated")):
    try:
        raise error
    except Exception as found:
        log.exception("anticipated")
        assert respond(RequestFactory().get("/"), found).status_code in (404, 503)
for name in ("django.request", "celery.worker.consumer.consumer", "opentelemetry.exporter"):
    logging.getLogger(name).error("anticipated")

# The user by the id only; the job by its kind.
request = RequestFactory().get("/of-a-user")
request.user = get_user_model()(email="hunter2@example.com", id="01890000-0000-7000-8000-000000000000")
respond(request, KeyError("of a request"))

def run(outcome, is_final, run_id):
    monitor = Monitor(name="prune", entry={{"kind": "x", "cron": "10 3 * * *"}}, run_id=run_id * 32)
    given = {{"request_id": "request-9", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
    fields = {{"user_id": "an-owner", "job_id": "7", "kind": "a.kind"}}
    with working("a.kind", **given, fields=fields, attributes={{}}, monitor=monitor) as work:
        try:
            raise ValueError("of a job")
        except ValueError:
            log.exception("job_attempt_failed") if outcome == "failed" and is_final else None
        work.name, work.is_final = outcome, is_final
run("succeeded", True, "a")
run("failed", False, "b")
run("failed", True, "b")
from apps.practices.observability.farewell import reports_send
reports_send(20)
"""


def test_reports_are_redacted_and_say_what_they_belong_to(sentry: Receiver, stack: Stack) -> None:
    ran = script_run(REPORT, stack, SENTRY_DSN=sentry.dsn, RELEASE="tide-7", SENTRY_TRACES_SAMPLE_RATE="0.000001")
    status, request_id = ran.stdout.split()
    assert status == "500"
    assert b"hunter2" not in b"".join(body for _, _, body in sentry.received)
    events = {event["exception"]["values"][-1]["type"]: event for event in sentry.envelopes("event")}
    assert len(sentry.envelopes("event")) == 4, "each error once, and none that was anticipated"
    assert set(events) == {"RuntimeError", "KeyError", "ValueError"}
    assert {(event["environment"], event["release"]) for event in events.values()} == {("test", "tide-7")}
    assert request_id in {event["tags"].get("request_id") for event in sentry.envelopes("event")}
    assert not any("vars" in frame for event in events.values() for frame in _frames(event))
    assert {type_: event.get("user") for type_, event in events.items()} == {
        "RuntimeError": None,
        "KeyError": {"id": "01890000-0000-7000-8000-000000000000"},
        "ValueError": {"id": "an-owner"},
    }
    of_job = events["ValueError"]
    assert (of_job["tags"]["request_id"], of_job["transaction"]) == ("request-9", "job a.kind")
    assert of_job["tags"]["trace_id"] == of_job["contexts"]["trace"]["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert sentry.envelopes("transaction") == [], "a client does not decide what is sampled"
    runs = [(one["check_in_id"][0], one["status"], one["monitor_slug"]) for one in sentry.envelopes("check_in")]
    assert runs == [
        ("a", "in_progress", "prune"),
        ("a", "ok", "prune"),
        ("b", "in_progress", "prune"),
        ("b", "in_progress", "prune"),  # the second attempt of the same run
        ("b", "error", "prune"),
    ]
    assert sentry.envelopes("check_in")[0]["monitor_config"]["schedule"] == {"type": "crontab", "value": "10 3 * * *"}


def _frames(event: Any) -> list[Any]:
    return [
        frame for value in event["exception"]["values"] for frame in value.get("stacktrace", {"frames": []})["frames"]
    ]


@pytest.mark.parametrize(
    ("entry", "schedule"),
    [
        ({"cron": "0 * * * *"}, {"type": "crontab", "value": "0 * * * *"}),
        ({"every": 300}, {"type": "interval", "value": 5, "unit": "minute"}),
        ({"every": 30}, None),
        ({}, None),
    ],
)
def test_schedules_become_monitors(entry: dict[str, Any], schedule: Any) -> None:
    config = monitor_config(entry)
    assert (config and config["schedule"]) == schedule


HUNG = f"""
import atexit, time
atexit.register(lambda: print(time.monotonic() - stopped, flush=True))  # the first that is registered is the last to be called
{ASKED}
from apps.operations.shutdown import process_shutdown
slowest = 0
for number in range(55):  # of two reports each, more than Sentry's queue takes
    started = time.monotonic()
    assert ask("/api/v1/sample/notes/broken")[0] == 500
    slowest = max(slowest, time.monotonic() - started)
started = time.monotonic()
process_shutdown()
stopped = time.monotonic()
print(slowest, stopped - started, flush=True)
"""


def test_a_hung_sentry_holds_no_request_and_a_stop_for_two_seconds(sentry: Receiver, stack: Stack) -> None:
    sentry.is_hung.set()
    ran = script_run(HUNG, stack, SENTRY_DSN=sentry.dsn, LOG_LEVEL="ERROR", SENTRY_TRACES_SAMPLE_RATE="1")
    slowest, stop, after = map(float, ran.stdout.split())
    assert sentry.received, "it was tried"
    assert slowest < 2
    assert 1.9 < stop < 3
    assert after < 1.5, "the interpreter's end does not wait again"
    assert [line for line in ran.stderr.splitlines() if not line.startswith("{")] == []


def test_django_loggers_have_no_handlers() -> None:
    assert logging.getLogger("django").handlers == []
    assert logging.getLogger("django.server").handlers == []
