"""Statements: their number and time for each request, spans, and the slow ones in the log. Never their values."""

import hashlib
import re
import time
from functools import lru_cache
from typing import Any

import structlog
from django.conf import settings

from apps.practices.mechanisms import traces
from apps.practices.mechanisms.metrics import Durations
from apps.practices.mechanisms.usage import usage

CACHED_LENGTH = 4096  # characters of a statement whose fingerprint is kept
SHOWN = 1000  # characters of a statement in the log
# One lexical element of PostgreSQL at a time (its manual, 4.1). Names in double quotes, and placeholders, are kept.
_ELEMENT = re.compile(
    r"""(?P<name>"(?:[^"]|"")*")
    |(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
    |(?P<text>\b[eE]'(?:\\.|''|[^'\\])*(?:'|\Z)|(?:\b[uU]&|\b[bBxXnN])?'(?:''|[^'])*(?:'|\Z)|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z))
    |(?P<number>(?<![\w$.])\.?\d[\w.]*(?:(?<=[eE])[+-]\d+)?)
    """,
    re.VERBOSE | re.DOTALL,
)
_PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[sbt]")
_LISTS = re.compile(r"\(\s*\?(?:\s*,\s*\?)+\s*\)")
_ROWS = re.compile(r"(\((?:\?|\.\.\.)\))(?:\s*,\s*\((?:\?|\.\.\.)\))+")
_BOUNDS = re.compile(r"\A(?:SET LOCAL \w+ = \?; )+")  # of a transaction through PgBouncer (database.bounds)

# The name and the labels are OpenTelemetry's (semantic conventions for database clients, stable since 1.33).
_statements = Durations(
    "db_client_operation_duration_seconds",
    "Time from sending a statement to PostgreSQL to its result.",
    labels=["db_operation_name", "db_system_name"],
)
_LABELS = {name: (name, "postgresql") for name in ("SELECT", "INSERT", "UPDATE", "DELETE")}
_OTHER = ("OTHER", "postgresql")

logger = structlog.get_logger("queries")


def statement_observe(query: Any, seconds: float) -> None:
    """Count a statement that has ended, log it if it was slow, and record its span."""
    usage.queries += 1
    usage.query_seconds += seconds
    _statements.observe_values(seconds, _LABELS.get(query[:6] if isinstance(query, str) else "", _OTHER))
    slowest = settings.OBSERVABILITY_SLOW_QUERY_SECONDS
    if slowest and seconds >= slowest:
        shape, fingerprint = fingerprint_of(query)
        logger.warning("slow_query", duration_ms=round(seconds * 1000, 2), fingerprint=fingerprint, statement=shape)
    if traces.recorder is not None:
        _span(query, seconds)


def _span(query: Any, seconds: float) -> None:
    shape, fingerprint = fingerprint_of(query)
    operation = shape.split(" ", 1)[0].upper()
    attributes = {
        "db.system.name": "postgresql",
        "db.operation.name": operation,
        "db.query.text": shape,
        "db.query.fingerprint": fingerprint,
    }
    if traces.recorder is not None:
        traces.recorder.call(operation, attributes, started=time.time_ns() - int(seconds * 1e9))


def fingerprint_of(query: Any) -> tuple[str, str]:
    """Return a statement without values and comments, of at most 1,000 characters, and 16 hexadecimal digits of its hash.

    Statements that differ in values, in the length of a list or in white space have the same.
    """
    if not isinstance(query, str):
        query = query.decode("utf-8", "replace") if isinstance(query, bytes) else query.as_string(None)
    return (_fingerprint if len(query) <= CACHED_LENGTH else _fingerprint.__wrapped__)(str(query))


@lru_cache(maxsize=512)
def _fingerprint(query: str) -> tuple[str, str]:
    shape = _PLACEHOLDER.sub("?", _ELEMENT.sub(_without_value, query))
    shape = _ROWS.sub(r"\1", _LISTS.sub("(...)", " ".join(shape.split())))
    shape = _BOUNDS.sub("", shape)
    return shape[:SHOWN], hashlib.sha256(shape.encode("utf-8", "replace")).hexdigest()[:16]


def _without_value(element: re.Match[str]) -> str:
    if element["name"]:
        return element[0]
    return " " if element["comment"] else "?"
