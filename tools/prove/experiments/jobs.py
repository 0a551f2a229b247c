"""jobs (137): 202 at once; a killed worker loses nothing, and work takes effect once; so does what is sent many times."""

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tools.prove.client import Answer, Client
from tools.prove.ground import Evidence, Ground, wait_until

COUNTS = "/api/v1/sample/notes/counts"
COPIES = 12


def prove(ground: Ground) -> Evidence:
    """This function will kill the worker in the middle of a job, then submit one many times at once under one key."""
    client = ground.stranger()
    token = ground.account(client).access
    worker = ground.worker
    submitted = client.post(COUNTS, {"seconds": 3}, token=token)
    place = submitted.headers.get("Location", "/nowhere")

    def in_state(*states: str) -> Answer | None:
        answer = client.get(place, token=token)
        return answer if answer.status == 200 and answer.json()["state"] in states else None

    running = wait_until(lambda: in_state("running"), seconds=20)
    worker.kill()
    worker.start()
    done = wait_until(lambda: in_state("succeeded", "failed"), seconds=30, every=0.3)
    job: dict[str, Any] = done.json() if done else {"state": "lost", "id": ""}
    effects = client.get(f"/api/v1/sample/notes/effects?job={job['id']}", token=token).json().get("effects")
    stranger = ground.account(other := ground.stranger())
    hidden = other.get(place, token=stranger.access).status
    copies = _copies(ground, other, stranger.access)
    return Evidence(
        did=(
            "submitted a job of 3 s, killed the worker (SIGKILL) while it ran, started another, looked as somebody else; "
            f"submitted {COPIES} times at once under one Idempotency-Key, on both instances"
        ),
        saw=(
            f"{submitted.status} in {submitted.seconds:.2f} s; seen running: {bool(running)}; then {job['state']} with "
            f"{effects} effect; {hidden} for another user; under one key {copies}"
        ),
        holds=(
            submitted.status == 202
            and bool(running)
            and job["state"] == "succeeded"
            and effects == 1
            and hidden == 404
            and copies.hold
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Copies:
    """What came of one request that was sent many times."""

    jobs: int
    statuses: list[int]
    again: list[int]
    bodies: int
    otherwise: int

    @property
    def hold(self) -> bool:
        """Whether there is one job and one answer, for whoever was told to come again, too; and none for another request."""
        once = (self.jobs, self.bodies, self.otherwise) == (1, 1, 422)
        return once and set(self.statuses) <= {202, 409} and self.again == [202] * COPIES

    def __str__(self) -> str:
        told = {status: self.statuses.count(status) for status in sorted(set(self.statuses))}
        return (
            f"{self.jobs} jobs, answers {told}, repeated {sorted(set(self.again))} with {self.bodies} body, "
            f"with another content {self.otherwise}"
        )


def _copies(ground: Ground, client: Client, token: str) -> _Copies:
    """Send one request at once to both instances, every copy once more when all are answered, and another with its key."""
    headers = {**ground.as_edge(), "Idempotency-Key": secrets.token_hex(16)}
    instances = [ground.stranger(web.url) for web in ground.fleet.webs]

    def send(number: int, seconds: float = 0) -> Answer:
        instance = instances[number % len(instances)]
        return instance.post(COUNTS, {"seconds": seconds}, token=token, headers=headers)

    with ThreadPoolExecutor(COPIES) as pool:
        answers = list(pool.map(send, range(COPIES)))
    again = [send(number) for number in range(COPIES)]
    accepted = [answer for answer in (*answers, *again) if answer.status == 202]
    listed = client.get("/api/v1/jobs?limit=100", token=token)
    return _Copies(
        jobs=len(listed.json().get("results", [])),
        statuses=[answer.status for answer in answers],
        again=[answer.status for answer in again],
        bodies=len({json.dumps([answer.headers.get("Location"), answer.body.decode()]) for answer in accepted}),
        otherwise=send(0, seconds=1).status,
    )
