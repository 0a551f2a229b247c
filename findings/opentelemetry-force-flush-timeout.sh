#!/bin/sh
# opentelemetry-sdk 1.45.2: BatchSpanProcessor.force_flush(timeout_millis) takes a timeout and waits as long as the exporter
# does, then returns True, on time or not; TracerProvider.force_flush, which hands its own on, does the same. A process
# that flushes before it answers or stops must bound the exporter instead (OTLPSpanExporter(timeout=…), 10 s by default).
#
# Output seen, 2026-11-30, with a receiver that answers after 1.5 s:
#   BatchSpanProcessor.force_flush(100): True after 1.5 s
#   TracerProvider.force_flush(100): True after 1.5 s
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

DELAY = 1.5


class Receiver(BaseHTTPRequestHandler):
    """Accept every batch, late."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(DELAY)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
provider = TracerProvider()
processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=f"http://127.0.0.1:{receiver.server_port}/v1/traces", timeout=10))
provider.add_span_processor(processor)
held = True
for name, flush in (("BatchSpanProcessor", processor.force_flush), ("TracerProvider", provider.force_flush)):
    provider.get_tracer("finding").start_span("request").end()
    started = time.monotonic()
    answer = flush(timeout_millis=100)
    took = time.monotonic() - started
    print(f"{name}.force_flush(100): {answer} after {took:.1f} s")
    held &= answer is True and took >= DELAY
provider.shutdown()
sys.exit(0 if held else "The timeout of force_flush counts now.")
PYTHON
