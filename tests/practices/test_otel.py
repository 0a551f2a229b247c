"""observability: OpenTelemetry's spans and metrics, by OTLP, and nothing of it without its variables."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest

from tests.processes import script_run
from tests.receivers import Receiver, receiver_running
from tools.stack import Stack

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ASKED = """
import django; django.setup()
import json, os, sys, time
from django.test import Client
client = Client(raise_request_exception=False)
def ask(path, traceparent=""):
    response = client.get(path, headers={"traceparent": traceparent} if traceparent else {})
    return response.headers["X-Request-ID"]
"""
RECORDED = f"""{ASKED}
before = os.getpid()
from apps.practices.mechanisms import metrics
metrics.count("forked", kind="both")
import threading
threads = [threading.active_count()]
ask("/nothing-here?token=hunter2")  # the parent's own
child = os.fork()  # as a server that has the application loaded
if not child:
    ask("/readyz?token=hunter2", "00-{TRACE_ID}-{SPAN_ID}-01")
    ask("/api/v1/sample/notes/broken", "00-{TRACE_ID}-{SPAN_ID}-00")
    print(json.dumps([ask("/api/v1/sample/notes/broken")]), flush=True)
    metrics.count("forked", kind="both")
from apps.operations.shutdown import process_shutdown
process_shutdown()
if child:
    os.waitpid(child, 0)
os._exit(0)
"""
HUNG = f"""{ASKED}
slowest = 0.0
for number in range(30):
    started = time.monotonic()
    ask("/healthz")
    slowest = max(slowest, time.monotonic() - started)
    time.sleep(0.01)
started = time.monotonic()
from apps.operations.shutdown import process_shutdown
process_shutdown()
print(json.dumps([slowest, time.monotonic() - started]), flush=True)
"""


def run(script: str, stack: Stack, receiver: Receiver, **more: str) -> Any:
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20secret%20of%20the%20receiver",
        "OTEL_SERVICE_NAME": "tide-tables",
        "TRACE_CALLERS": "127.0.0.0/8",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        **more,
    }
    ran = script_run(script, stack, **given)
    assert "a secret of the receiver" not in ran.stderr
    return json.loads(ran.stdout)


def test_spans_and_metrics_are_exported(stack: Stack) -> None:
    """A child exports its own, although its parent has exported before the fork; its parent's counts stay the parent's."""
    with receiver_running() as receiver:
        [request_id] = run(RECORDED, stack, receiver)
    assert {headers["x-key"] for _, headers, _ in receiver.received} == {"a secret of the receiver"}
    spans = receiver.spans()
    assert b"hunter2" not in b"".join(body for _, _, body in receiver.received)
    [continued] = [span for span in spans if span.parent_id == SPAN_ID]  # the other was not sampled
    assert (continued.name, continued.trace_id) == ("GET /readyz", TRACE_ID)
    assert (continued.attributes["url.path"], continued.kind) == ("/readyz", 2)
    assert continued.resource["service.name"] == "tide-tables"
    queries = [span for span in spans if span.parent_id == continued.id]
    assert {"SELECT ?"} < {span.attributes["db.query.text"] for span in queries}
    assert all(span.attributes["db.system.name"] == "postgresql" for span in queries)
    assert all((span.trace_id, span.kind) == (TRACE_ID, 3) and span.seconds > 0 for span in queries)
    [failed] = [span for span in spans if span.attributes.get("request.id") == request_id]
    assert (failed.name, failed.parent_id, failed.status) == ("GET /api/v1/sample/notes/broken", "", 2)
    [limits] = [span for span in spans if span.parent_id == failed.id]
    assert (limits.name, limits.attributes["db.system.name"], limits.trace_id) == ("EVALSHA", "redis", failed.trace_id)
    assert (failed.attributes["error.type"], failed.attributes["http.response.status_code"]) == ("500", 500)
    assert len({span.resource["service.instance.id"] for span in spans}) == 2
    metrics = receiver.metrics()
    durations = {
        (attributes["http.route"], attributes["http.response.status_code"]): point
        for attributes, point in metrics["http.server.request.duration"]
    }
    broken = durations["/api/v1/sample/notes/broken", 500]
    assert (broken.count, sum(broken.bucket_counts)) == (2, 2)
    assert len(broken.bucket_counts) == len(broken.explicit_bounds) + 1
    assert 0 < broken.sum < 10
    forked = [(attributes["kind"], point.as_double) for attributes, point in metrics["shipshape_forked"]]
    assert forked == [("both", 1), ("both", 1)]


def test_a_hung_receiver_holds_no_request_and_a_stop_for_two_seconds(stack: Stack) -> None:
    with receiver_running() as receiver:
        receiver.is_hung.set()
        started = time.monotonic()
        slowest, stop = run(HUNG, stack, receiver)
        ended = time.monotonic() - started
    assert slowest < 1
    assert 1.9 < stop < 3, "it has waited, but not for longer"
    assert ended < 40, "nothing waits after that, either"
    assert {path for path, _, _ in receiver.received} == {"/v1/traces", "/v1/metrics"}


def test_nothing_is_imported_without_the_variables(stack: Stack) -> None:
    script = f"""{ASKED}
import project.wsgi, project.celery
ask("/readyz")
from apps.practices.mechanisms import traces
# redis-py 8.1 imports OpenTelemetry's API and SDK of metrics itself, where they are installed.
parts = ("sentry_sdk", "opentelemetry.exporter", "opentelemetry.sdk.trace", "google.", "apps.practices.observability.otel")
print(json.dumps([traces.recorder, [name for name in sys.modules if name.startswith(parts)]]))
"""
    assert json.loads(script_run(script, stack).stdout) == [None, []]


def test_a_missing_package_is_named(stack: Stack) -> None:
    script = """
import sys
sys.modules["opentelemetry"] = None  # as if it were not installed
import django; django.setup()
"""
    with pytest.raises(subprocess.CalledProcessError) as failed:
        script_run(script, stack, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    assert "pip install --require-hashes -r requirements/otel.txt" in failed.value.stderr
