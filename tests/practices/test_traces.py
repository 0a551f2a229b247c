"""observability: a trusted caller's trace goes on into log lines, jobs and their worker; nobody else's does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from django.test import Client
from structlog.testing import capture_logs

from apps.jobs.models import Job
from apps.jobs.services.submission import job_submit
from apps.jobs.tasks import job_run
from apps.practices.mechanisms.facts import facts_of
from apps.practices.mechanisms.traces import Trace, current_trace, trace_read
from settings.kinds import callers

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


@pytest.mark.parametrize(
    "header",
    [
        TRACEPARENT,
        f"00-{TRACE_ID}-{SPAN_ID}-03",  # the random flag of level 2
        f"cc-{TRACE_ID}-{SPAN_ID}-01",
        f"cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-holds",
    ],
)
def test_a_traceparent_is_read(header: str) -> None:
    read = trace_read(header)
    assert read == Trace(TRACE_ID, SPAN_ID, header[53:55])
    assert read.is_sampled


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        TRACE_ID,
        TRACEPARENT.upper(),
        f"{TRACEPARENT} ",
        f" {TRACEPARENT}",
        f"{TRACEPARENT}\n",
        f"{TRACEPARENT},{TRACEPARENT}",  # sent twice
        f"{TRACEPARENT}-more",  # not in version 00
        f"cc{TRACEPARENT[2:]}.more",
        f"ff{TRACEPARENT[2:]}",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID[:-1]}-{SPAN_ID}-01",
        f"00-{TRACE_ID[:-1]}g-{SPAN_ID}-01",
        f"00-{TRACE_ID[:-1]}\u0661-{SPAN_ID}-01",  # a digit, but not one of ASCII's
        f"00_{TRACE_ID}_{SPAN_ID}_01",
    ],
)
def test_a_malformed_traceparent_is_no_trace(header: str | None) -> None:
    assert trace_read(header) is None


def test_an_operation_of_this_service_has_its_own_id() -> None:
    first, second = (Trace(TRACE_ID, SPAN_ID, "00").child() for _ in range(2))
    assert len({SPAN_ID, first.span_id, second.span_id}) == 3
    assert trace_read(first.traceparent) == first
    assert not first.is_sampled


def asked(client: Client, **headers: str) -> dict[str, Any]:
    """Return the access line of a request."""
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as captured:
        client.get("/nothing-here", headers={"traceparent": TRACEPARENT, **headers}, REMOTE_ADDR="10.1.2.3")
    (line,) = [line for line in captured if line["event"] == "request"]
    return line


@pytest.mark.parametrize(
    ("trusted", "proxies", "forwarded", "continues"),
    [
        ([], ["10.0.0.0/8"], None, False),
        (["10.0.0.0/8"], 0, None, True),
        (["10.9.0.0/16"], 0, None, False),
        (["10.0.0.0/8"], 1, "203.0.113.7", False),  # a stranger, behind a proxy of that network
        (["203.0.113.0/24"], 1, "203.0.113.7", True),
        ("proxies", 0, None, False),
        ("proxies", 1, "203.0.113.7", True),
        ("proxies", ["10.1.0.0/16"], "203.0.113.7", True),
        ("proxies", ["10.9.0.0/16"], "203.0.113.7", False),
    ],
)
def test_only_a_trusted_caller_continues_its_trace(
    client: Client, settings: Any, trusted: Any, proxies: Any, forwarded: str | None, continues: bool
) -> None:
    settings.OBSERVABILITY_TRACE_CALLERS, settings.TRUSTED_PROXIES = trusted, proxies
    line = asked(client, **({"X-Forwarded-For": forwarded} if forwarded else {}))
    assert line.get("trace_id") == (TRACE_ID if continues else None)
    assert ("span_id" in line, "trace_flags" in line) == (continues, continues)
    assert line.get("span_id") != SPAN_ID, "the span of the caller"
    assert current_trace() is None, "after the request"


def test_a_malformed_traceparent_of_a_trusted_caller_changes_nothing(client: Client, settings: Any) -> None:
    settings.OBSERVABILITY_TRACE_CALLERS = ["10.0.0.0/8"]
    assert "trace_id" not in asked(client, traceparent=TRACEPARENT.upper())


@pytest.mark.parametrize("given", ["proxies", " Proxies "])
def test_the_proxies_can_be_trusted_by_a_word(given: str) -> None:
    assert callers(given) == "proxies"


@pytest.mark.parametrize("given", ["1", "everybody", "10.0.0.0/33"])
def test_callers_are_networks(given: str) -> None:
    with pytest.raises(ValueError, match="networks"):
        callers(given)
    assert callers("10.1.2.3/8, ::1") == ["10.0.0.0/8", "::1/128"]


@pytest.fixture
def in_a_trace(rf: Any, settings: Any) -> Iterator[Trace]:
    """Run a test within a request that continues a trace; return the request's own operation."""
    settings.OBSERVABILITY_TRACE_CALLERS = ["127.0.0.0/8"]
    span = facts_of(rf.get("/", headers={"traceparent": TRACEPARENT})).span
    assert span is not None
    span.enter()
    yield span.trace
    span.leave()


@pytest.mark.django_db
def test_a_trace_goes_on_in_its_job(in_a_trace: Trace) -> None:
    """As one of mails does: they are jobs, too."""
    parameters = {"template": "verify-email", "address": "somebody@example.com"}
    job = job_submit(kind="accounts.mail", owner=None, parameters=parameters)
    assert Job.objects.get(pk=job.pk).traceparent == in_a_trace.traceparent


@pytest.mark.django_db
def test_a_worker_has_the_trace_of_each_job_and_of_no_other(in_a_trace: Trace) -> None:
    """The message that wakes a worker carries the ids of its own submission, which may run other jobs."""
    rows = [
        Job.objects.create(kind="of.no.code", start_tag=tag, traceparent=traceparent, request_id=request_id)
        for tag, (traceparent, request_id) in enumerate([(in_a_trace.traceparent, "request-1"), ("", "")])
    ]
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as captured:
        job_run(str(rows[0].pk))
        job_run(str(rows[1].pk))
    (first, second) = [line for line in captured if line["event"] == "job_started"]
    assert [first["job_id"], second["job_id"]] == [str(row.pk) for row in rows]
    assert (first["trace_id"], first["request_id"]) == (TRACE_ID, "request-1")
    assert first["span_id"] not in (SPAN_ID, in_a_trace.span_id)
    assert {"trace_id", "span_id", "trace_flags", "request_id"}.isdisjoint(second)
    assert current_trace() == in_a_trace
