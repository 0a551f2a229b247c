"""observability: one request id in the response, the web log and the worker's log; metrics of the whole fleet."""

import re
from typing import Any

from tools.prove.sandbox import Result, Sandbox, wait_until


def prove(sandbox: Sandbox) -> Result:
    """Follow one request's id through every log, and read the metrics with and without the token."""
    client = sandbox.client()
    token = sandbox.account(client).access
    answer = client.post("/api/v1/sample/notes/counts", {"seconds": 0}, token=token)
    request_id = answer.headers.get("X-Request-ID", "absent")
    worker = sandbox.worker
    webs = wait_until(lambda: _lines_of(request_id, *sandbox.fleet.webs) or None, seconds=5) or []
    works = (webs and wait_until(lambda: _lines_of(request_id, worker) or None, seconds=12)) or []
    access = [line for line in webs if line.get("route")]
    closed = client.get("/metrics").status
    bearer = sandbox.environment["METRICS_TOKEN"]

    def counted() -> float | None:
        total = _requests(client.get("/metrics", token=bearer).body.decode(), route="/api/v1/sample/notes/counts")
        return total if total >= 1 else None

    total = wait_until(counted, seconds=6) or 0
    return Result(
        did="submitted a job, looked for its request id in all logs, read /metrics without and with the token",
        saw=(
            f"id {request_id} in {len(webs)} web and {len(works)} worker lines, route "
            f"{access[0]['route'] if access else 'absent'!r}; /metrics {closed} without the token, with it "
            f"{total:g} submissions counted over all processes"
        ),
        passed=bool(access) and bool(works) and closed == 404 and total >= 1,
    )


def _lines_of(request_id: str, *services: Any) -> list[dict[str, Any]]:
    return [line for service in services for line in service.lines() if line.get("request_id") == request_id]


def _requests(text: str, *, route: str) -> float:
    """Return how many requests of a route a Prometheus exposition counts."""
    lines = re.findall(r"^http_server_request_duration_seconds_count\{([^}]*)\} ([\d.e+]+)$", text, flags=re.MULTILINE)
    return sum(float(value) for labels, value in lines if f'"{route}"' in labels)
