"""The context of work outside a request, such as a job: what its log lines, its span and its error reports say of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from apps.practices.mechanisms.traces import FIELDS, job_span


class Outcome:
    """How the work ended: ``name`` for its span, and whether it failed."""

    name = "interrupted"
    is_failure = False


@contextmanager
def working(
    kind: str, *, request_id: str, traceparent: str, fields: Mapping[str, str], attributes: Mapping[str, Any]
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
    try:
        yield outcome
    finally:
        if span is not None:
            span.leave()
            span.end(
                f"job {kind}",
                {**attributes, "request.id": request_id or None, "job.outcome": outcome.name},
                error=outcome.name if outcome.is_failure else None,
            )
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**before)
