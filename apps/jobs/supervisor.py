"""The supervisor: one thread in each worker's main process that keeps jobs moving.

Twice a second it ends jobs that were cancelled, or have run out of time, and reach no checkpoint. At every tick it

- renews the leases of pool processes that are alive, and abandons the claims of those that died or took too much memory;
- inserts the jobs that schedules have due;
- queues delayed jobs and sends missing messages;
- reclaims the jobs of workers that are dead.

It does not run in the pool processes: a long C call that holds Python's global lock would keep it from renewing the lease, and a
healthy job would be lost. The main process only passes messages on, and it knows which of its children have died.
"""

import threading
import time

import structlog
from celery import current_app
from django.conf import settings
from django.db import DatabaseError, connection

from apps.jobs.limits import memory_exceeded, runner_kill, time_exceeded
from apps.jobs.models import JobStop
from apps.jobs.processes import runner_process, worker_identity
from apps.jobs.services import leases, outcomes
from apps.jobs.services.claims import Claim
from apps.jobs.services.relay import jobs_relay
from apps.jobs.services.schedules import schedules_insert

OVERDUE_SECONDS = 0.5  # between two looks for jobs that have to end
CHECKPOINT_SECONDS = 1.0  # that such a job has to reach a checkpoint; most do within half of it
logger = structlog.get_logger(__name__)


class Supervisor(threading.Thread):
    """A thread that ticks every JOBS_TICK_SECONDS until the process ends."""

    def __init__(self) -> None:
        super().__init__(name="jobs-supervisor", daemon=True)
        self.worker = worker_identity()
        self._stopping = threading.Event()
        self._draining = False
        self._cancelled: dict[Claim, float] = {}
        # PostgreSQL may just have come back: first let every living worker renew its leases.
        self._reap_after = time.monotonic() + 2 * settings.JOBS_TICK_SECONDS

    def run(self) -> None:
        due = time.monotonic() + settings.JOBS_TICK_SECONDS
        while not self._stopping.wait(min(OVERDUE_SECONDS, max(0.0, due - time.monotonic()))):
            try:
                self._end_overdue()
                if time.monotonic() >= due:
                    self.tick()
            except DatabaseError:
                connection.close()
            except Exception:  # this thread renews every lease of the worker: no error may end it
                logger.exception("jobs_tick_failed")
            if time.monotonic() >= due:
                due = time.monotonic() + settings.JOBS_TICK_SECONDS
        connection.close()

    def tick(self) -> None:
        """Do each duty once. If PostgreSQL is down, the next tick tries again on a new connection."""
        started = time.monotonic()
        try:
            self._renew_leases()
            if not self._draining:
                schedules_insert()
                jobs_relay()
            if started >= self._reap_after:
                reclaimed = outcomes.leases_reap()
                if reclaimed:
                    logger.warning("jobs_reclaimed", count=reclaimed)
            leases.worker_heartbeat(name=self.worker, queues=list(current_app.amqp.queues.consume_from))
        except DatabaseError:
            logger.warning("jobs_tick_failed", exc_info=True)
            connection.close()
            self._pause_reaping()
        if time.monotonic() - started > settings.JOBS_LEASE_SECONDS / 2:
            self._pause_reaping()

    def drain(self, seconds: float) -> None:
        """Wait up to ``seconds`` for the running jobs to finish. In the last third, ask them to stop at a checkpoint.

        Called in the main thread, by Celery's signal handler, while this thread keeps renewing leases.
        """
        self._draining = True
        deadline = time.monotonic() + seconds
        is_asked = False
        while (left := deadline - time.monotonic()) > 0:
            is_asked = is_asked or left < seconds / 3
            try:
                if not (leases.claims_request_release if is_asked else leases.claims_count)(worker=self.worker):
                    break
            except DatabaseError:
                logger.warning("jobs_drain_failed", exc_info=True)
                connection.close()
            time.sleep(min(0.2, left))
        connection.close()

    def finish(self) -> None:
        """Stop ticking, and release the claims of killed pool processes. Call it after the pool has ended."""
        self._stopping.set()
        self.join(timeout=settings.JOBS_TICK_SECONDS + 1)
        try:
            for active in leases.claims_active(worker=self.worker):
                if runner_process(active.runner) is None:
                    leases.claim_release(claim=active.claim)
            leases.worker_delete(name=self.worker)
        except DatabaseError:
            logger.warning("jobs_not_returned", exc_info=True)
        finally:
            connection.close()

    def _renew_leases(self) -> None:
        """Renew the leases of processes that are alive and within their memory limit; end the other claims."""
        alive = []
        for active in leases.claims_active(worker=self.worker):
            if runner_process(active.runner) is None:
                self._process_died(active)
            elif reason := memory_exceeded(runner=active.runner, kind=active.kind):
                self._kill(active, reason)
            else:
                alive.append(active.claim)
        if alive:
            leases.claims_renew(worker=self.worker, claims=alive)

    def _end_overdue(self) -> None:
        """Kill the process of a job that was cancelled, or has run out of time, and reaches no checkpoint.

        Such a job is in a long statement or computation. Its transaction is rolled back, so its effects in PostgreSQL are those
        of the steps that it had completed.
        """
        now = time.monotonic()
        claims = leases.claims_active(worker=self.worker)
        cancelled = [active.claim for active in claims if active.stop == JobStop.CANCEL]
        self._cancelled = {claim: self._cancelled.get(claim, now) for claim in cancelled}
        for active in claims:
            if now - self._cancelled.get(active.claim, now) >= CHECKPOINT_SECONDS:
                self._kill(active, "The job was cancelled and reached no checkpoint.")
            elif reason := time_exceeded(kind=active.kind, seconds=active.seconds - CHECKPOINT_SECONDS):
                self._kill(active, reason)

    def _kill(self, active: leases.ActiveClaim, reason: str) -> None:
        logger.warning("job_process_killed", job_id=str(active.claim.job_id), runner=active.runner, reason=reason)
        runner_kill(active.runner)
        outcomes.claim_abandon(claim=active.claim, error=reason)

    def _process_died(self, active: leases.ActiveClaim) -> None:
        """Charge the job an attempt, unless the worker is stopping, which ends processes too."""
        logger.warning("job_process_died", job_id=str(active.claim.job_id), runner=active.runner)
        if self._draining:
            leases.claim_release(claim=active.claim)
        else:
            outcomes.claim_abandon(claim=active.claim, error=f"The process {active.runner} that ran the job died.")

    def _pause_reaping(self) -> None:
        """Reclaim no job for one lease: while PostgreSQL was down, no living worker could renew its leases either."""
        self._reap_after = time.monotonic() + settings.JOBS_LEASE_SECONDS
