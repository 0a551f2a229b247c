"""One request, followed through everything that says something of it: by its id, and by the trace of its caller."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from tests.faults.submitters import COUNTS, WIDE, Owner
from tests.fleet import ask, fleet_running
from tests.processes import wait_until
from tests.receivers import receiver_running
from tools.stack import Stack

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
# The first attempt at a job is its last, and it fails.
FAILING = """
ALTER TABLE sample_effect RENAME TO elsewhere;
CREATE FUNCTION last_attempt() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.attempts := 4; RETURN NEW; END';
CREATE TRIGGER last_attempt BEFORE INSERT ON jobs_job FOR EACH ROW EXECUTE FUNCTION last_attempt();
"""


def test_one_id_is_in_everything(stack: Stack) -> None:
    with receiver_running() as receiver:
        variables = {
            "SENTRY_DSN": receiver.dsn,
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "TRACE_CALLERS": "127.0.0.0/8",
            "RELEASE": "tide-7",
            **WIDE,
        }
        with fleet_running(stack, worker=True, instances=1, **variables) as fleet:
            web, worker, edge = fleet.webs[0], fleet.worker, fleet.edge
            assert worker is not None
            assert edge is not None
            with psycopg.connect(web.environment["DATABASE_URL"], autocommit=True) as database:
                database.execute(FAILING)
                owner = Owner(fleet)
                headers = {**owner.headers, "traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}
                response = ask(
                    fleet.url,
                    COUNTS,
                    method="POST",
                    body={"seconds": 0},
                    headers=headers,
                    context=fleet.ssl_context(),
                )
                assert response.status == 202, response
                request_id, job_id = response.headers["x-request-id"], response.json()["id"]
                problem = owner.wait(job_id, "discarded")["problem"]
                row = database.execute(
                    "SELECT request_id, traceparent FROM jobs_job WHERE id = %s", [job_id]
                ).fetchone()
                me = ask(fleet.url, "/api/v1/me", headers=owner.headers, context=fleet.ssl_context())
                ask(fleet.url, "/api/v1/me?token=hunter2", headers=owner.headers, context=fleet.ssl_context())
                refused = ask(
                    fleet.url,
                    "localhost:443",
                    method="CONNECT",
                    headers={"Host": "localhost:443", "Connection": "close"},
                    context=fleet.ssl_context(),
                    timeout=5,
                )
                wait_until(
                    lambda: {span.name for span in of_trace(receiver)} >= {f"POST {COUNTS}", "job sample.count"},
                    seconds=20,
                    what="the spans",
                )
                wait_until(lambda: receiver.envelopes("event"), seconds=20, what="the error report")
            lines = {service.name: lines_of(service.lines(), request_id) for service in (web, worker)}
            assert "/api/v1/me" in edge.log.read_text()
            assert "hunter2" not in edge.log.read_text()
            assert refused.status == 405, "the edge's own"
            assert refused.headers["x-request-id"] in edge.log.read_text()
            edge_lines = [json.loads(line) for line in edge.log.read_text().splitlines() if request_id in line]
            (read,) = [line for line in web.lines() if line.get("request_id") == me.headers["x-request-id"]]
    assert problem["request_id"] == request_id
    assert row is not None
    assert row[0] == request_id

    access = lines["web-1"]["request"]
    assert access["trace_id"] == TRACE_ID
    assert access["queries"] > 1
    assert lines["worker"]["job_started"]["trace_id"] == lines["worker"]["job_ended"]["trace_id"] == TRACE_ID
    assert lines["worker"]["job_attempt_failed"]["level"] == "error"

    (edge_line,) = edge_lines
    assert edge_line["resp_headers"]["X-Request-Id"] == [request_id]
    assert (edge_line["request"]["uri"], "headers" in edge_line["request"]) == (COUNTS, False)

    spans = {span.name: span for span in of_trace(receiver)}
    asked, worked = spans[f"POST {COUNTS}"], spans["job sample.count"]
    assert asked.attributes["request.id"] == worked.attributes["request.id"] == request_id
    assert (asked.parent_id, worked.parent_id) == (SPAN_ID, asked.id)
    assert row[1] == f"00-{TRACE_ID}-{asked.id}-01"
    assert access["span_id"] == asked.id
    assert (worked.status, worked.attributes["job.outcome"]) == (2, "failed")
    assert {span.name for span in of_trace(receiver) if span.parent_id == asked.id} >= {"SELECT", "INSERT", "EVALSHA"}

    (event,) = receiver.envelopes("event")
    assert event["tags"] == {**event["tags"], "request_id": request_id, "trace_id": TRACE_ID}
    assert (event["user"], event["release"]) == ({"id": access["user_id"]}, "tide-7")
    assert event["contexts"]["trace"]["trace_id"] == TRACE_ID

    # A read by a prepared statement, too.
    assert read["queries"] > 0
    assert read["session"] == access["session"]
    told = b"".join(body for _, _, body in receiver.received)
    assert b"hunter2" not in told
    assert b"@example.com" not in told.replace(b"[e-mail]@example.com", b"")


def of_trace(receiver: Any) -> list[Any]:
    return [span for span in receiver.spans() if span.trace_id == TRACE_ID]


def lines_of(lines: list[dict[str, Any]], request_id: str) -> dict[str, dict[str, Any]]:
    """Return the lines with this id, by their event."""
    return {line["event"]: line for line in lines if line.get("request_id") == request_id}
