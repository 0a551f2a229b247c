"""observability: errors reach Sentry without a secret, and only if one is named."""

import gzip
import io
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.processes import script_run
from tools.stack import Stack


@pytest.fixture
def sentry() -> Iterator[tuple[str, list[bytes]]]:
    """Start a stand-in for Sentry's server, which keeps the envelopes."""
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


def test_sentry_reports_are_redacted_and_have_request_ids(sentry: tuple[str, list[bytes]], stack: Stack) -> None:
    dsn, received = sentry
    status, request_id = script_run(REPORT, stack, SENTRY_DSN=dsn).stdout.split()
    assert status == "500"
    text = b"\n".join(received).decode()
    assert "hunter2" not in text
    events = [json.loads(line) for line in text.splitlines() if '"exception"' in line]
    values = [event["exception"]["values"][-1] for event in events]
    assert [value["type"] for value in values].count("RuntimeError") == 2, "each error once"
    assert {event["environment"] for event in events} == {"test"}
    assert request_id in {(event.get("tags") or {}).get("request_id") for event in events}
    assert not any("vars" in frame for value in values for frame in value["stacktrace"]["frames"])


def test_django_loggers_have_no_handlers() -> None:
    assert logging.getLogger("django").handlers == []
    assert logging.getLogger("django.server").handlers == []
