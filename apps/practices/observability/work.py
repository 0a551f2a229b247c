"""The context of work outside a request, such as a job: what its log lines, its span and its error reports say of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import structlog
from django.conf import settings

from apps.practices.mechanisms.traces import FIELDS, job_span


class Outcome:
    """How the work ended: ``name`` for its span, and whether it failed."""

    name = "interrupted"
    is_failure = False
    is_final = False  # it is not tried again


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """A schedule whose run this is: ``entry`` has its "cron" or "every", and ``run_id`` is 32 hexadecimal digits."""

    name: str
    entry: Mapping[str, Any]
    run_id: str


@contextmanager
def working(
    kind: str,
    *,
    request_id: str,
    traceparent: str,
    fields: Mapping[str, str],
    attributes: Mapping[str, Any],
    monitor: Monitor | None = None,
) -> Iterator[Outcome]:
    """Bind ``fields`` and the ids of the submission to the log lines of an attempt, and record its span.

    Ids that the thread has from elsewhere, such as from the message that woke the process, are hidden. ``attributes`` are the
    span's. The caller sets how it ended.
    """
    before = structlog.contextvars.get_contextvars()
    structlog.contextvars.unbind_contextvars("request_id", *FIELDS)
    structlog.contextvars.bind_contextvars(**fields, **({"request_id": request_id} if request_id else {}))
    span, outcome = job_span(kind, traceparent), Outcome()
    if span is not None:
        span.enter()
    if settings.OBSERVABILITY_SENTRY_DSN:
        reports = _reports()
        reports.work_started(monitor)
    try:
        yield outcome
    finally:
        if settings.OBSERVABILITY_SENTRY_DSN:
            reports.work_ended(monitor, outcome)
        if span is not None:
            span.leave()
            span.end(
                f"job {kind}",
                {**attributes, "request.id": request_id or None, "job.outcome": outcome.name},
                error=outcome.name if outcome.is_failure else None,
            )
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**before)


def _reports() -> ModuleType:
    """Return the module of error reports, which is imported only where they are sent."""
    from apps.practices.observability import sentry

    return sentry
