"""shutdown: SIGTERM to every process at once loses neither the request in flight nor the running job."""

import time
from concurrent.futures import ThreadPoolExecutor

from tools.prove.client import Answer
from tools.prove.sandbox import Result, Sandbox, wait_until

SECONDS = 3


def prove(sandbox: Sandbox) -> Result:
    """Stop an instance and the worker in the middle of their work, as a host does at each deploy."""
    client, direct = sandbox.client(), sandbox.client(sandbox.fleet.webs[0].url)
    token = sandbox.account(client).access
    web, worker = sandbox.fleet.webs[0], sandbox.worker
    place = client.post("/api/v1/sample/notes/counts", {"seconds": SECONDS}, token=token).headers.get(
        "Location", "/nowhere"
    )

    def in_state(state: str) -> Answer | None:
        answer = client.get(place, token=token)
        return answer if answer.status == 200 and answer.json()["state"] == state else None

    wait_until(lambda: in_state("running"), seconds=20)
    with ThreadPoolExecutor(1) as pool:
        flight = pool.submit(direct.get, f"/api/v1/sample/notes/busy?seconds={SECONDS}", headers=sandbox.as_edge())
        time.sleep(1)
        started = time.monotonic()
        web.terminate_group()
        worker.terminate_group()
        codes = [web.wait(40), worker.wait(40)]
        seconds = time.monotonic() - started
        web.start()
        worker.start()
        answered = flight.result().status
    done = wait_until(lambda: in_state("succeeded"), seconds=30, every=0.3)
    attempts = done.json()["attempts"] if done else 0
    work = f"{attempts} attempt" if done else "not done"
    return Result(
        did=f"sent SIGTERM to every process of an instance and of the worker, {SECONDS} s of work in flight in each",
        saw=f"the request answered {answered}; exit status {codes} after {seconds:.1f} s; the job: {work}",
        passed=answered == 200 and codes == [0, 0] and seconds < 26 and bool(done) and attempts == 1,
    )
