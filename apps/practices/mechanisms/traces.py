"""Traces: the place of a request or a job in the trace of a caller (W3C Trace Context, levels 1 and 2).

A process continues a trace that a trusted caller has begun. Only a ``Recorder`` (OpenTelemetry, where it is configured) begins
traces and records spans; without one, and without a caller's trace, there is no trace and nothing is done.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from django.conf import settings

from apps.practices.mechanisms.proxies import is_ours, parse, trusted_peer

PROXIES = "proxies"  # the value of TRACE_CALLERS that trusts the proxies of TRUSTED_PROXIES
LENGTH = 55  # characters of a traceparent of version 00
_WELL_FORMED = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)
_SAMPLED = 0x01
# The names of these values in log lines are OpenTelemetry's (Trace Context in non-OTLP Log Formats).
FIELDS = ("trace_id", "span_id", "trace_flags")


@dataclass(frozen=True, slots=True)
class Trace:
    """An operation in a trace: the trace's id, the operation's own id, and its flags, in hexadecimal digits as they are sent."""

    trace_id: str
    span_id: str
    flags: str

    @property
    def is_sampled(self) -> bool:
        """Return whether the caller says that it records the trace."""
        return bool(int(self.flags, 16) & _SAMPLED)

    @property
    def traceparent(self) -> str:
        """Return the header's value for an operation that this one causes."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    def child(self) -> "Trace":
        """Return a new operation that this one has caused."""
        return Trace(self.trace_id, os.urandom(8).hex(), self.flags)


class Span:
    """An operation in a trace that this process continues but does not record."""

    __slots__ = ("trace",)

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def enter(self) -> None:
        """Put the trace on the log lines that follow. Leave it in the same thread."""
        trace = self.trace
        structlog.contextvars.bind_contextvars(trace_id=trace.trace_id, span_id=trace.span_id, trace_flags=trace.flags)

    def leave(self) -> None:
        """Take it off again."""
        structlog.contextvars.unbind_contextvars(*FIELDS)

    def end(self, name: str, attributes: Mapping[str, Any], *, error: str | None = None) -> None:
        """Record what has become known of the operation. ``error`` is the kind of its failure, if it failed."""


class Recorder(Protocol):
    """A recorder of spans: ``observability.otel``, where OpenTelemetry is configured."""

    def request(self, parent: Trace | None) -> Span | None:
        """Begin the span of a request."""
        ...

    def job(self, kind: str, parent: Trace | None) -> Span | None:
        """Begin the span of an attempt at a job."""
        ...

    def call(self, name: str, attributes: Mapping[str, Any], *, started: int) -> None:
        """Record a call to a store that has ended; ``started`` is ``time.time_ns()``. Outside of a span do nothing."""
        ...


recorder: Recorder | None = None


def recorder_set(found: Recorder | None) -> None:
    """Set what records spans from now on."""
    global recorder
    recorder = found


def trace_read(header: str | None) -> Trace | None:
    """Return the operation that a ``traceparent`` names; None if it is malformed.

    Of a later version only the part is read that version 00 has (W3C Trace Context, 3.2.4).
    """
    if not header or not (match := _WELL_FORMED.match(header)):
        return None
    version, trace_id, span_id, flags = match.groups()
    rest = header[LENGTH:]
    if version == "ff" or (rest and (version == "00" or rest[0] != "-")):
        return None
    if trace_id == "0" * 32 or span_id == "0" * 16:
        return None
    return Trace(trace_id, span_id, flags)


def trace_of_caller(meta: Mapping[str, Any], address: str) -> Trace | None:
    """Return the trace of a request's caller, if TRACE_CALLERS trusts it; ``address`` is the client's."""
    callers = settings.OBSERVABILITY_TRACE_CALLERS
    if not callers or "HTTP_TRACEPARENT" not in meta:
        return None
    if callers == PROXIES:
        is_trusted = trusted_peer(meta)
    else:
        client = parse(address)
        is_trusted = client is not None and is_ours(client, tuple(callers))
    return trace_read(meta["HTTP_TRACEPARENT"]) if is_trusted else None


def request_span(meta: Mapping[str, Any], address: str) -> Span | None:
    """Begin the span of a request; None if nothing records it and its caller has no trace."""
    parent = trace_of_caller(meta, address)
    if recorder is not None:
        return recorder.request(parent)
    return None if parent is None else Span(parent.child())


def job_span(kind: str, traceparent: str) -> Span | None:
    """Begin the span of an attempt at a job, which ``traceparent`` of its submission has caused."""
    parent = trace_read(traceparent)
    if recorder is not None:
        return recorder.job(kind, parent)
    return None if parent is None else Span(parent.child())


def current_trace() -> Trace | None:
    """Return the operation that this code works for; None if it has no trace."""
    context = structlog.contextvars.get_contextvars()
    if "trace_id" not in context:
        return None
    return Trace(context["trace_id"], context["span_id"], context["trace_flags"])
