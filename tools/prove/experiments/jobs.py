"""jobs: 202 at once; a killed worker loses no job; a job, or a request repeated under one key, takes effect once."""

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tools.prove.client import Answer, Client
from tools.prove.sandbox import Result, Sandbox, wait_until

COUNTS = "/api/v1/sample/notes/counts"
COPIES = 12


def prove(sandbox: Sandbox) -> Result:
    """Kill the worker in the middle of a job, then submit one job many times at once under one Idempotency-Key."""
    client = sandbox.client()
    token = sandbox.account(client).access
    worker = sandbox.worker
    submitted = client.post(COUNTS, {"seconds": 3}, token=token)
    place = submitted.headers.get("Location", "/nowhere")

    def in_state(*states: str) -> Answer | None:
        answer = client.get(place, token=token)
        return answer if answer.status == 200 and answer.json()["state"] in states else None

    running = wait_until(lambda: in_state("running"), seconds=20)
    worker.kill()
    worker.start()
    done = wait_until(lambda: in_state("succeeded", "discarded"), seconds=30, every=0.3)
    job: dict[str, Any] = done.json() if done else {"state": "lost", "id": ""}
    effects = client.get(f"/api/v1/sample/notes/effects?job={job['id']}", token=token).json().get("effects")
    other = sandbox.client()
    other_token = sandbox.account(other).access
    hidden = other.get(place, token=other_token).status
    repeated = _repeated(sandbox, other, other_token)
    return Result(
        did=(
            "submitted a job of 3 s, killed the worker (SIGKILL) while it ran, started another, looked as another user; "
            f"submitted {COPIES} times at once under one Idempotency-Key, on both instances"
        ),
        saw=(
            f"{submitted.status} in {submitted.seconds:.2f} s; seen running: {bool(running)}; then {job['state']} with "
            f"{effects} effect; {hidden} for another user; under one key {repeated}"
        ),
        passed=(
            submitted.status == 202
            and bool(running)
            and job["state"] == "succeeded"
            and effects == 1
            and hidden == 404
            and repeated.is_one
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Repeated:
    """The outcome of one request that was sent many times under one key."""

    jobs: int
    statuses: list[int]
    again: list[int]
    bodies: int
    otherwise: int

    @property
    def is_one(self) -> bool:
        """Return whether there is one job, one answer for every copy, and a refusal for a different request."""
        once = (self.jobs, self.bodies, self.otherwise) == (1, 1, 422)
        return once and set(self.statuses) <= {202, 409} and self.again == [202] * COPIES

    def __str__(self) -> str:
        counts = {status: self.statuses.count(status) for status in sorted(set(self.statuses))}
        return (
            f"{self.jobs} jobs, answers {counts}, repeated {sorted(set(self.again))} with {self.bodies} body, "
            f"with other content {self.otherwise}"
        )


def _repeated(sandbox: Sandbox, client: Client, token: str) -> _Repeated:
    """Send copies of one request to both instances at once, then each again, then a different request with the same key."""
    headers = {**sandbox.as_edge(), "Idempotency-Key": secrets.token_hex(16)}
    instances = [sandbox.client(web.url) for web in sandbox.fleet.webs]

    def send(number: int, seconds: float = 0) -> Answer:
        instance = instances[number % len(instances)]
        return instance.post(COUNTS, {"seconds": seconds}, token=token, headers=headers)

    with ThreadPoolExecutor(COPIES) as pool:
        answers = list(pool.map(send, range(COPIES)))
    again = [send(number) for number in range(COPIES)]
    accepted = [answer for answer in (*answers, *again) if answer.status == 202]
    listed = client.get("/api/v1/jobs?limit=100", token=token)
    return _Repeated(
        jobs=len(listed.json().get("results", [])),
        statuses=[answer.status for answer in answers],
        again=[answer.status for answer in again],
        bodies=len({json.dumps([answer.headers.get("Location"), answer.body.decode()]) for answer in accepted}),
        otherwise=send(0, seconds=1).status,
    )
