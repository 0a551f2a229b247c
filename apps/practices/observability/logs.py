"""Log lines: one JSON object a line (a readable line in dev), redacted, to standard error.

structlog's own loggers render straight to bytes; lines of Django, Celery and gunicorn come through the standard library
and are given the same shape. Standard output stays what a command has to say.
"""

import contextlib
import json
import logging
import os
import re
import sys
import threading
from datetime import UTC, datetime
from typing import Any, cast

import orjson
import structlog
from django.conf import settings
from structlog.types import EventDict, Processor, WrappedLogger

from apps.practices.mechanisms import traces
from apps.practices.observability import redaction

# Our own values, which cannot contain a secret: not worth a scan on every line.
_PLAIN_NAMES = frozenset(
    {
        "time",
        "level",
        "logger",
        "method",
        "request_id",
        "user_id",
        "route",
        "address",
        "session",
        "cache",
        *traces.FIELDS,
    }
)
# Control characters could end a line, move a terminal's cursor or hide text; JSON escapes the first 32 only.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_BEYOND_JSON = re.compile("[\x7f-\x9f\u2028\u2029]")
_MULTILINE_NAMES = frozenset({"exception", "stack"})
_MULTILINE_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class Stderr:
    """Standard error, a whole line per write, nothing held back: what was logged is out, also before a kill -9."""

    def write(self, line: bytes) -> None:
        rest = memoryview(line)
        # A log that cannot be written (closed, full) must not fail the work that is logged.
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[os.write(2, rest) :]

    def flush(self) -> None:
        """Do nothing, since ``write`` does not buffer."""


STDERR = Stderr()


class LineHandler(logging.Handler):
    """Writes lines of the standard library's loggers to the same place as structlog's."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        except Exception:  # noqa: BLE001 - logging reports a record that it cannot format in its own way
            self.handleError(record)
            return
        STDERR.write(line)


def thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Log the exception that ended a thread (``threading.excepthook``)."""
    if failure.exc_type is not SystemExit:
        name = failure.thread.name if failure.thread else None
        error = (failure.exc_type, failure.exc_value, failure.exc_traceback)
        structlog.get_logger(__name__).error("thread_failed", thread=name, exc_info=error)


def line_write(event: str, *, logger: str) -> None:
    """Write one line without taking a lock, for signal handlers: the code that they interrupt may hold a logger's lock."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    line = {"event": event, "logger": logger, "level": "info", "time": now}
    rendered = renderer_for(settings.OBSERVABILITY_LOG_STYLE)(None, "info", redact_event(None, "info", line))
    STDERR.write(cast(bytes, rendered) + b"\n")


def redact_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Redact every value of a log line (structlog processor)."""
    for name, value in event.items():
        if name in _PLAIN_NAMES or isinstance(value, int | float) or value is None:
            continue
        event[name] = redaction.redact_named(name, value)
    return event


def render_json(_: WrappedLogger, __: str, event: EventDict) -> bytes:
    """Render a line as one JSON object without any control character (structlog processor)."""
    try:
        text = orjson.dumps(event, default=_as_text, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # A lone surrogate, or an integer beyond 64 bits.
        return json.dumps(event, default=_as_text, skipkeys=True).encode()
    if text.isascii() and b"\x7f" not in text:
        return text
    return _CONTROL_BEYOND_JSON.sub(_json_escape, text.decode()).encode()


def _json_escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _as_text(value: Any) -> str:
    return redaction.redact_text(str(value))


def escape_control(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Show control characters as escapes, for a terminal (structlog processor)."""
    for name, value in event.items():
        if isinstance(value, str):
            pattern = _MULTILINE_CONTROL if name in _MULTILINE_NAMES else _CONTROL
            event[name] = pattern.sub(lambda match: match[0].encode("unicode_escape").decode(), value)
    return event


class ConsoleLine:
    """Renders a readable line for a developer's terminal (structlog processor)."""

    def __init__(self) -> None:
        self._render = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=24, timestamp_key="time", pad_level=False
        )

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> bytes:
        event["time"] = str(event.get("time", ""))[11:23]
        return self._render(logger, method, escape_control(logger, method, event)).encode("utf-8", "backslashreplace")


def renderer_for(style: str) -> Processor:
    """Return the last processor: ``json`` or ``console``."""
    return ConsoleLine() if style == "console" else render_json


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]


def structlog_configure(*, style: str, level: str, extra: list[Processor]) -> None:
    """Configure structlog's own loggers; ``extra`` processors see an event before its exception becomes text."""
    global _is_info
    lowest = logging.getLevelNamesMapping()[level]
    _is_info = lowest <= logging.INFO
    _processors[:] = [  # in place: loggers that were used before keep the list
        *_common(),
        *extra,
        structlog.processors.format_exc_info,
        redact_event,
        renderer_for(style),
    ]
    structlog.configure(
        processors=_processors,
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.BytesLoggerFactory(file=STDERR),  # type: ignore[arg-type]  # it needs write and flush
        cache_logger_on_first_use=True,
    )


_processors: list[Processor] = []  # structlog's, in a list that `structlog.testing.capture_logs` changes in place
_is_info = True  # whether lines of the level INFO are written
_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")


def info_write(event: str, fields: EventDict, *, logger: str) -> None:
    """Write a line at INFO: the bytes of structlog's logger in a third of its time, for the line of every request."""
    if not _processors or _processors[-1] is not render_json:  # a terminal, or a test that captures the lines
        structlog.get_logger(logger).info(event, **fields)
    elif _is_info:
        fields["event"] = event
        structlog.contextvars.merge_contextvars(None, "info", fields)
        fields["logger"], fields["level"] = logger, "info"
        _stamp(None, "info", fields)
        STDERR.write(render_json(None, "info", redact_event(None, "info", fields)) + b"\n")


def line_formatter(style: str = "json") -> logging.Formatter:
    """Return the formatter that gives lines of the standard library's loggers the same shape (for ``LOGGING``)."""
    render = renderer_for(style)

    def as_text(logger: WrappedLogger, method: str, event: EventDict) -> str:
        rendered = render(logger, method, event)
        return rendered.decode() if isinstance(rendered, bytes) else str(rendered)

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_common(), structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact_event,
            as_text,
        ],
    )
