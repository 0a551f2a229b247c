"""OpenTelemetry: spans and metrics by OTLP, if OTEL_EXPORTER_OTLP_ENDPOINT is set. Imported only then (decision 0085).

A process connects and starts its threads with its first span, which is after any fork.
"""

import os
from collections.abc import Mapping
from threading import Lock
from typing import Any

from django.conf import settings
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.re import parse_env_headers

from apps.practices.mechanisms import traces
from apps.practices.mechanisms.metrics_numbers import numbers
from apps.practices.mechanisms.traces import Span, Trace
from apps.practices.observability.farewell import sent_at_the_end
from apps.practices.observability.otel_metrics import MetricsExport


class RecordedSpan(Span):
    """A span of OpenTelemetry, which is current while it is entered."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: trace.Span) -> None:
        found = span.get_span_context()
        super().__init__(
            Trace(
                trace.format_trace_id(found.trace_id), trace.format_span_id(found.span_id), f"{found.trace_flags:02x}"
            )
        )
        self._span = span
        self._token: Any = None

    def enter(self) -> None:
        super().enter()
        self._token = context.attach(trace.set_span_in_context(self._span))

    def leave(self) -> None:
        context.detach(self._token)
        super().leave()

    def end(self, name: str, attributes: Mapping[str, Any], *, error: str | None = None) -> None:
        self._span.update_name(name)
        self._span.set_attributes({key: value for key, value in attributes.items() if value not in (None, "")})
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class Process:
    """What exports the spans and metrics of one process. ``inherited`` are the numbers that a fork has copied."""

    def __init__(self, *, inherited: Mapping[bytes, float]) -> None:
        endpoint: str = settings.OBSERVABILITY_OTEL_ENDPOINT.rstrip("/")
        headers = parse_env_headers(settings.OBSERVABILITY_OTEL_HEADERS or "", liberal=True) or None
        resource = Resource.create(
            {
                "service.name": settings.OBSERVABILITY_OTEL_SERVICE,
                "service.instance.id": os.urandom(8).hex(),
                "service.version": settings.OBSERVABILITY_RELEASE or "",
                "deployment.environment.name": settings.ENVIRONMENT_NAME,
            }
        )
        self.tracer: trace.Tracer | None = None
        self._spans: TracerProvider | None = None
        self._metrics: MetricsExport | None = None
        if settings.OBSERVABILITY_OTEL_TRACES == "otlp":
            # The end of the process is ours: OpenTelemetry's own waits for up to 30 seconds.
            self._spans = TracerProvider(resource=resource, shutdown_on_exit=False)
            exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", headers=headers)
            self._spans.add_span_processor(BatchSpanProcessor(exporter))
            self.tracer = self._spans.get_tracer("shipshape")
        if settings.OBSERVABILITY_OTEL_METRICS == "otlp":
            self._metrics = MetricsExport(
                endpoint=f"{endpoint}/v1/metrics", headers=headers, resource=resource, inherited=inherited
            )
            self._metrics.start()

    def spans_end(self) -> None:
        """Send the spans that are left. A receiver that does not answer makes this wait for up to 30 seconds."""
        if self._spans is not None:
            self._spans.shutdown()

    def metrics_end(self) -> None:
        """Send the last metrics, and wait for the receiver as for spans."""
        if self._metrics is not None:
            self._metrics.stop()


class OpenTelemetry:
    """Records spans by OpenTelemetry's SDK (``traces.Recorder``)."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._lock = Lock()
        self._inherited: Mapping[bytes, float] = {}
        os.register_at_fork(after_in_child=self._forget)

    def request(self, parent: Trace | None) -> Span | None:
        return self._begin("HTTP", SpanKind.SERVER, parent)

    def job(self, kind: str, parent: Trace | None) -> Span | None:
        return self._begin(f"job {kind}", SpanKind.CONSUMER, parent)

    def call(self, name: str, attributes: Mapping[str, Any], *, started: int) -> None:
        """Record a call that has ended, in the current span of the sampled ones; outside of one do nothing."""
        tracer = self._process.tracer if self._process else None
        if tracer is not None and trace.get_current_span().is_recording():
            tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes, start_time=started).end()

    def spans_end(self) -> None:
        """Send the spans that are left."""
        if self._process is not None:
            self._process.spans_end()

    def metrics_end(self) -> None:
        """Send the last metrics."""
        if self._process is not None:
            self._process.metrics_end()

    def _begin(self, name: str, kind: SpanKind, parent: Trace | None) -> Span | None:
        tracer = (self._process or self._process_make()).tracer
        if tracer is None:
            return None if parent is None else Span(parent.child())
        return RecordedSpan(tracer.start_span(name, kind=kind, context=_context_of(parent)))

    def _process_make(self) -> Process:
        with self._lock:
            if self._process is None:
                self._process = Process(inherited=self._inherited)
            return self._process

    def _forget(self) -> None:
        """Forget what a forked child has from its parent, whose threads it has not."""
        self._process = None
        self._lock = Lock()
        self._inherited = numbers()


def _context_of(parent: Trace | None) -> context.Context:
    """Return a context with the caller's span, or with none."""
    if parent is None:
        return context.Context()
    flags = TraceFlags(int(parent.flags, 16))
    remote = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(NonRecordingSpan(remote), context.Context())


def start() -> None:
    """Record spans from now on."""
    recorder = OpenTelemetry()
    traces.recorder_set(recorder)
    sent_at_the_end(recorder.spans_end)
    sent_at_the_end(recorder.metrics_end)
