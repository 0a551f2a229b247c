"""Error reports and schedules' runs to Sentry, redacted like the logs. Imported only if SENTRY_DSN is set."""

import atexit
from collections.abc import Mapping
from threading import Event as Flag
from typing import TYPE_CHECKING, Any

import sentry_sdk
import structlog
from django.conf import settings
from sentry_sdk.crons import capture_checkin
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.types import Event, Hint
from structlog.types import EventDict, WrappedLogger

from apps.practices.errors.mapping import problem_from
from apps.practices.errors.problems import InternalError
from apps.practices.mechanisms.traces import Trace, current_trace
from apps.practices.observability.farewell import SECONDS, sent_at_the_end
from apps.practices.observability.redaction import redact

if TYPE_CHECKING:
    from apps.practices.observability.work import Monitor, Outcome

# They log at ERROR that another server does not answer.
ANTICIPATED_LOGGERS = ("celery.worker.consumer*", "kombu*", "opentelemetry*")
MARGIN_MINUTES = 5  # for a schedule's run to begin, as workers look every few seconds
LONGEST_MINUTES = 60  # for its end

_is_ending = Flag()


def start(*, dsn: str) -> None:
    """Start the client, without local variables, bodies or addresses. Everything is sent through ``before_send``."""
    sentry_sdk.init(
        dsn=dsn,
        environment=settings.ENVIRONMENT_NAME,
        release=settings.OBSERVABILITY_RELEASE,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        auto_session_tracking=False,
        auto_enabling_integrations=False,
        integrations=[DjangoIntegration(), CeleryIntegration()],
        # It writes plain text to standard error, and fails if its queue is full. ``_send`` takes its place.
        disabled_integrations=[AtexitIntegration],
        sample_rate=settings.OBSERVABILITY_SENTRY_SAMPLE_RATE,
        # A function, since a rate would give way to what a client says in its header sentry-trace.
        traces_sampler=_traces_rate if settings.OBSERVABILITY_SENTRY_TRACES_SAMPLE_RATE else None,
        before_send=before_send,
        before_send_transaction=before_send,
        shutdown_timeout=SECONDS,
    )
    for name in ANTICIPATED_LOGGERS:
        ignore_logger(name)
    sent_at_the_end(_send)
    atexit.register(_send)


def _send() -> None:
    """Send what is left, for at most 2 seconds, unless the process has begun to do so already."""
    if not _is_ending.is_set():
        _is_ending.set()
        sentry_sdk.flush(timeout=SECONDS)


def _traces_rate(_: Mapping[str, Any]) -> float:
    rate: float = settings.OBSERVABILITY_SENTRY_TRACES_SAMPLE_RATE
    return rate


def before_send(event: Event, hint: Hint) -> Event | None:
    """Return the report redacted, with the request id, the trace and the user's id; None for an anticipated error."""
    if is_anticipated(hint):
        return None
    context, record = structlog.contextvars.get_contextvars(), hint.get("log_record")
    tags = event.get("tags")
    request_id = context.get("request_id") or (tags if isinstance(tags, dict) else {}).get("request_id")
    user_id = getattr(record, "user_id", None) or context.get("user_id") or (event.get("user") or {}).get("id")
    cleaned: dict[str, Any] = redact(dict(event))
    cleaned.pop("server_name", None)
    cleaned.pop("user", None)
    if user_id is not None:
        cleaned["user"] = {"id": str(user_id)}
    if "job_id" in context:
        cleaned["transaction"] = f"job {context.get('kind')}"  # Celery's task is the same for all
    trace = current_trace()
    found = {"request_id": request_id, "trace_id": trace and trace.trace_id}
    cleaned["tags"] = {**(cleaned.get("tags") or {}), **{name: value for name, value in found.items() if value}}
    if trace is not None:
        _trace_set(cleaned, trace)
    return cleaned  # type: ignore[return-value]  # the same shape, its values cleaned


def is_anticipated(hint: Hint) -> bool:
    """Return whether the error becomes a response other than 500: it is a client's, or a dependency is away."""
    error = (hint.get("exc_info") or (None, None, None))[1]
    problem = problem_from(error) if isinstance(error, BaseException) else None
    return problem is not None and problem.status != InternalError.status


def _trace_set(event: dict[str, Any], trace: Trace) -> None:
    """Put the event into the trace of the log lines, in place of one of Sentry's own."""
    contexts = event["contexts"] = {**(event.get("contexts") or {})}
    contexts["trace"] = {**(contexts.get("trace") or {}), "trace_id": trace.trace_id, "span_id": trace.span_id}


def report_exception(_: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Report the exception that an error line carries (structlog processor).

    Handled errors become problem documents and never reach Django's own hook. Sentry drops duplicates.
    """
    exc_info = event.get("exc_info")
    if exc_info and method in ("error", "exception", "critical"):
        user_id = event.get("user_id")
        user = {"user": {"id": str(user_id)}} if user_id is not None else {}
        sentry_sdk.capture_exception(None if exc_info is True else exc_info, **user)
    return event


def request_started(request_id: str, trace: Trace | None) -> None:
    """Name the request in its reports, of which that of its timing is made when its log lines have ended."""
    scope = sentry_sdk.get_isolation_scope()
    scope.set_tag("request_id", request_id)
    if trace is not None:
        scope.set_tag("trace_id", trace.trace_id)


def work_started(monitor: "Monitor | None") -> None:
    """Report to Sentry that a schedule's run has begun."""
    if monitor is not None and (config := monitor_config(monitor.entry)):
        capture_checkin(monitor.name, monitor.run_id, "in_progress", monitor_config=config)


def work_ended(monitor: "Monitor | None", outcome: "Outcome") -> None:
    """Report to Sentry how a schedule's run ended, unless it is tried again."""
    if monitor is not None and outcome.is_final and monitor_config(monitor.entry):
        capture_checkin(monitor.name, monitor.run_id, "ok" if outcome.name == "succeeded" else "error")


def monitor_config(entry: Mapping[str, Any]) -> Any:
    """Return Sentry's description of a schedule; None for one that Sentry cannot monitor: it is gone, or has no full minutes."""
    if "cron" in entry:
        schedule = {"type": "crontab", "value": entry["cron"]}
    elif "every" in entry and int(entry["every"]) % 60 == 0:
        schedule = {"type": "interval", "value": int(entry["every"]) // 60, "unit": "minute"}
    else:
        return None
    return {
        "schedule": schedule,
        "timezone": "UTC",
        "checkin_margin": MARGIN_MINUTES,
        "max_runtime": LONGEST_MINUTES,
    }
