"""Stand-ins for servers of others that reports are sent to: Sentry's, and an OpenTelemetry receiver. They can hang."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


class Receiver:
    """What has been sent: the body of each request, decompressed, with its path and headers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.is_hung = threading.Event()
        self.go_on = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def dsn(self) -> str:
        """A project of Sentry's at this server."""
        return f"http://public@127.0.0.1:{self.port}/1"

    def envelopes(self, kind: str) -> list[dict[str, Any]]:
        """Return the items of this kind that came in Sentry's envelopes: ``event``, ``transaction`` or ``check_in``."""
        found = []
        for path, _, body in [*self.received]:
            if not path.endswith("/envelope/"):
                continue
            lines = iter(body.split(b"\n")[1:])
            for header in lines:
                if header and json.loads(header).get("type") == kind:
                    found.append(json.loads(next(lines)))
                else:
                    next(lines, None)
        return found

    def spans(self) -> list[Span]:
        """Return the spans that came by OTLP."""
        found = []
        for path, _, body in [*self.received]:
            if path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    of = _values(resource.resource.attributes)
                    found += [Span(span, of) for scope in resource.scope_spans for span in scope.spans]
        return found

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        """Return the latest points of each metric of each process that came by OTLP, with their attributes."""
        latest: dict[tuple[str, str], list[tuple[dict[str, Any], Any]]] = {}
        for path, _, body in [*self.received]:
            if path == "/v1/metrics":
                for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    instance = _values(resource.resource.attributes)["service.instance.id"]
                    for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                        points = getattr(metric, metric.WhichOneof("data")).data_points
                        latest[metric.name, instance] = [(_values(point.attributes), point) for point in points]
        found: dict[str, list[tuple[dict[str, Any], Any]]] = {}
        for (name, _), points in latest.items():
            found.setdefault(name, []).extend(points)
        return found


class Span:
    """A span as it was sent: ids in hexadecimal digits, attributes as a dict."""

    def __init__(self, span: Any, resource: dict[str, Any]) -> None:
        self.name, self.resource, self.attributes = span.name, resource, _values(span.attributes)
        self.trace_id, self.id, self.parent_id = (
            part.hex() for part in (span.trace_id, span.span_id, span.parent_span_id)
        )
        self.kind = span.kind
        self.status = span.status.code
        self.seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9


@contextmanager
def receiver_running() -> Iterator[Receiver]:
    """Start a server that keeps what it is sent. Once ``is_hung`` is set, it accepts requests and does not answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            encoding = self.headers.get("Content-Encoding")
            if encoding == "gzip":
                body = gzip.decompress(body)
            elif encoding == "deflate":
                body = zlib.decompress(body)
            receiver.received.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            if receiver.is_hung.is_set():
                receiver.go_on.wait(60)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.go_on.set()
        server.shutdown()
        server.server_close()


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)
