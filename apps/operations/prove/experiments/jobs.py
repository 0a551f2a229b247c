"""jobs (137): 202 at once; a worker killed at work loses nothing, and the work takes effect once."""

from typing import Any

from apps.operations.prove.client import Answer
from apps.operations.prove.ground import Evidence, Ground, wait_until


def prove(ground: Ground) -> Evidence:
    """This function will kill the worker in the middle of a job and wait for another to finish it."""
    client = ground.stranger()
    token = ground.account(client).access
    worker = ground.worker
    submitted = client.post("/api/v1/sample/notes/counts", {"seconds": 3}, token=token)
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
    return Evidence(
        did="submitted a job of 3 s, killed the worker (SIGKILL) while it ran, started another, looked as somebody else",
        saw=(
            f"{submitted.status} in {submitted.seconds:.2f} s; seen running: {bool(running)}; then {job['state']} with "
            f"{effects} effect; {hidden} for another user"
        ),
        holds=(
            submitted.status == 202 and bool(running) and job["state"] == "succeeded" and effects == 1 and hidden == 404
        ),
    )
