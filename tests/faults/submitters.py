"""Submitters of jobs to a fleet, and a reader of the jobs table for what became of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg

from tests.fleet import Answer, ask
from tests.processes import wait_until
from tests.secrets import FLEET_PASSWORD
from tools.fleet import Fleet, Service

PATIENCE = 40  # seconds; what takes longer is lost
ENDED = ("succeeded", "discarded", "cancelled")
WIDE = dict.fromkeys(("THROTTLE_ANON", "THROTTLE_USER", "THROTTLE_ADDRESS", "THROTTLE_LOGIN"), "1000000/15m")
WIDE["JOBS_RUNNING_PER_USER"] = "10000"  # jobs of one user run concurrently
COUNTS = "/api/v1/sample/notes/counts"


class Owner:
    """A signed-in user who submits jobs and polls them. ``slowest``: seconds of the slowest of the last ``submit_many``."""

    def __init__(self, fleet: Fleet) -> None:
        self.slowest = 0.0
        self.url = fleet.webs[0].url
        credentials = {"email": f"owner-{uuid4()}@example.com", "password": FLEET_PASSWORD}
        assert ask(self.url, "/api/v1/auth/register", method="POST", body=credentials).status == 201
        signed_in = ask(self.url, "/api/v1/auth/login", method="POST", body=credentials).json()
        self.headers = {"Authorization": f"Bearer {signed_in['access']}"}

    def submit(self, seconds: float) -> str:
        answer = self.ask(COUNTS, method="POST", body={"seconds": seconds})
        assert answer.status == 202, answer
        self.slowest = max(self.slowest, answer.seconds)
        return str(answer.json()["id"])

    def submit_many(self, count: int, seconds: float, *, at_once: int = 8) -> list[str]:
        """Submit ``count`` jobs and return their ids; all must be accepted."""
        self.slowest = 0.0
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            return list(pool.map(lambda _: self.submit(seconds), range(count)))

    def ask(self, path: str, **options: Any) -> Answer:
        return ask(self.url, path, headers=self.headers | options.pop("headers", {}), **options)

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.ask(f"/api/v1/jobs/{job_id}").json())

    def wait(self, job_id: str, *states: str) -> dict[str, Any]:
        """Wait until the job is in one of the states; fail with its state otherwise."""
        wait_until(
            lambda: self.job(job_id)["state"] in states,
            seconds=PATIENCE,
            what=lambda: f"one of {states} instead of {self.job(job_id)}",
        )
        return self.job(job_id)

    def effects(self, job_id: str) -> int:
        return int(self.ask(f"/api/v1/sample/notes/effects?job={job_id}").json()["effects"])


class Ledger:
    """The jobs table of a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._url = fleet.webs[0].environment["DATABASE_URL"]

    def rows(self, query: str, *values: Any) -> list[Any]:
        with psycopg.connect(self._url, autocommit=True, connect_timeout=5) as connection:
            return connection.execute(query, values).fetchall()

    def states(self, ids: Iterable[str]) -> Counter[str]:
        """Return how many of the accepted jobs are in which state; those without a row count as "lost"."""
        wanted = list(ids)
        found = dict(self.rows("SELECT id::text, state FROM jobs_job WHERE id = ANY(%s::uuid[])", wanted))
        return Counter(found.get(job_id, "lost") for job_id in wanted)

    def tally(self, ids: Iterable[str]) -> dict[str, int]:
        """Return how many of the accepted jobs succeeded and how many were discarded; fail if any is in another state."""
        states = self.states(ids)
        assert states.total() == states["succeeded"] + states["discarded"], states
        return {"accepted": states.total(), "done": states["succeeded"], "discarded": states["discarded"]}

    def claims(self, ids: Iterable[str]) -> list[int]:
        """Return how often each of the jobs was claimed."""
        wanted = list(ids)
        found = dict(self.rows("SELECT id::text, fence FROM jobs_job WHERE id = ANY(%s::uuid[])", wanted))
        return [int(found[job_id]) for job_id in wanted]

    def seconds(self, ids: Iterable[str]) -> float:
        """Return the seconds from the first submission to the last end, by the database's clock."""
        query = "SELECT extract(epoch FROM max(finished_at) - min(created_at)) FROM jobs_job WHERE id = ANY(%s::uuid[])"
        return float(self.rows(query, list(ids))[0][0])

    def one(self, job_id: str) -> tuple[str, int, str]:
        """Return state, attempts and error of a job."""
        return tuple(self.rows("SELECT state, attempts, error FROM jobs_job WHERE id = %s", job_id)[0])

    def done_once(self, ids: Iterable[str], *, seconds: float = PATIENCE) -> float:
        """Wait until every accepted job has succeeded with exactly one effect; return the seconds it took."""
        wanted, started = list(ids), time.monotonic()
        wait_until(
            lambda: self.states(wanted)["succeeded"] == len(wanted),
            seconds=seconds,
            what=lambda: str(self.states(wanted)),
        )
        taken = time.monotonic() - started
        effects = self.rows(
            "SELECT job_id::text, count(*) FROM sample_effect WHERE job_id = ANY(%s::uuid[]) GROUP BY 1", wanted
        )
        assert Counter(dict(effects)) == Counter(wanted), "once each"
        return taken

    def insert(self, kind: str, parameters: Mapping[str, Any], *, queue: str = "default") -> str:
        """Insert a job of the service, unsent; the relay finds it."""
        job_id = str(uuid4())
        self.rows(
            "INSERT INTO jobs_job (id, kind, queue, parameters, request_id, state, attempts, fence, worker, runner, stop,"
            " progress_done, progress_message, result_name, result_type, error)"
            " VALUES (%s, %s, %s, %s, '', 'queued', 0, 0, '', '', '', 0, '', '', '', '') RETURNING 1",
            job_id,
            kind,
            queue,
            json.dumps(parameters),
        )
        return job_id


def times_ready(worker: Service) -> int:
    """Return how often the worker has logged that it accepts messages."""
    return worker.log().count(" ready.")


def ready_again(worker: Service, before: int) -> None:
    """Wait until the worker has logged it once more."""
    wait_until(lambda: times_ready(worker) > before, seconds=PATIENCE, what=f"{worker.name} to be ready")
