"""One thread in each worker's main process that keeps the ledger moving.

Twice a second it ends the jobs that were cancelled, or whose time is up, and that reach no checkpoint. Every tick it renews
the leases of the pool processes that live, gives up those of the ones that died or took too much memory, queues what a schedule
says, sends what the broker has not got, and reclaims what other workers abandoned. It runs in the main process, not beside the
computation: a pool process that holds Python's global lock in a long C call could not renew its own lease, and would lose its
job while healthy. The main process only shovels messages, and is the one that knows which of its children are dead.
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
from apps.jobs.services import failures, leases
from apps.jobs.services.claims import Claim
from apps.jobs.services.relay import jobs_relay
from apps.jobs.services.schedules import schedules_insert
from apps.jobs.services.workers import worker_delete, worker_heartbeat

LOOK_SECONDS = 0.5  # between two looks for jobs that have to end
CHECKPOINT_SECONDS = 1.0  # for such a job to reach a checkpoint, which most do within half of it
logger = structlog.get_logger(__name__)


class Supervisor(threading.Thread):
    """Ticks every JOBS_TICK_SECONDS until the process ends."""

    def __init__(self) -> None:
        super().__init__(name="jobs-supervisor", daemon=True)
        self.worker = worker_identity()
        self._stopping = threading.Event()
        self._draining = False
        self._cancelled: dict[Claim, float] = {}
        # PostgreSQL may be back for moments only: whoever lives is to renew first.
        self._reap_after = time.monotonic() + 2 * settings.JOBS_TICK_SECONDS

    def run(self) -> None:
        due = time.monotonic() + settings.JOBS_TICK_SECONDS
        while not self._stopping.wait(min(LOOK_SECONDS, max(0.0, due - time.monotonic()))):
            try:
                self._late_end()
                if time.monotonic() >= due:
                    self.tick()
            except DatabaseError:
                connection.close()
            except Exception:  # every lease of the worker hangs on this thread: no mistake may end it
                logger.exception("jobs_tick_failed")
            if time.monotonic() >= due:
                due = time.monotonic() + settings.JOBS_TICK_SECONDS
        connection.close()

    def tick(self) -> None:
        """Do each duty once. PostgreSQL away: the next tick tries again, on a new connection."""
        started = time.monotonic()
        try:
            self._own_claims_tend()
            if not self._draining:
                schedules_insert()
                jobs_relay()
            if started >= self._reap_after:
                reaped = failures.leases_reap()
                if reaped:
                    logger.warning("jobs_reclaimed", count=reaped)
            worker_heartbeat(name=self.worker, queues=list(current_app.amqp.queues.consume_from))
        except DatabaseError:
            logger.warning("jobs_tick_failed", exc_info=True)
            connection.close()
            self._spare_leases()
        if time.monotonic() - started > settings.JOBS_LEASE_SECONDS / 2:
            self._spare_leases()

    def drain(self, seconds: float) -> None:
        """Wait at most ``seconds`` for the running jobs to end; ask them to stop when a third of that is left.

        Called in the main thread, in Celery's signal handler, while this thread goes on renewing leases.
        """
        self._draining = True
        deadline = time.monotonic() + seconds
        asked = False
        while (left := deadline - time.monotonic()) > 0:
            asked = asked or left < seconds / 3
            try:
                if not (leases.claims_request_release if asked else leases.claims_count)(worker=self.worker):
                    break
            except DatabaseError:
                logger.warning("jobs_drain_failed", exc_info=True)
                connection.close()
            time.sleep(min(0.2, left))
        connection.close()

    def finish(self) -> None:
        """Stop ticking and give back what killed pool processes held. Comes after the pool has ended."""
        self._stopping.set()
        self.join(timeout=settings.JOBS_TICK_SECONDS + 1)
        try:
            for held in leases.claims_active(worker=self.worker):
                if runner_process(held.runner) is None:
                    leases.claim_release(claim=held.claim)
            worker_delete(name=self.worker)
        except DatabaseError:
            logger.warning("jobs_not_returned", exc_info=True)
        finally:
            connection.close()

    def _own_claims_tend(self) -> None:
        alive = []
        for held in leases.claims_active(worker=self.worker):
            if runner_process(held.runner) is None:
                self._died(held)
            elif broken := memory_exceeded(runner=held.runner, kind=held.kind):
                self._killed(held, broken)
            else:
                alive.append(held.claim)
        if alive:
            leases.claims_renew(worker=self.worker, claims=alive)

    def _late_end(self) -> None:
        """Kill the process of a job that was cancelled, or whose time is up, and that reaches no checkpoint.

        It is in a long statement, or a long computation. Its transaction is undone, so a job's effects in PostgreSQL are those
        of the steps that it had finished.
        """
        now = time.monotonic()
        mine = leases.claims_active(worker=self.worker)
        cancelled = [held.claim for held in mine if held.stop == JobStop.CANCEL]
        self._cancelled = {claim: self._cancelled.get(claim, now) for claim in cancelled}
        for held in mine:
            if now - self._cancelled.get(held.claim, now) >= CHECKPOINT_SECONDS:
                self._killed(held, "It was cancelled, and reached no checkpoint.")
            elif broken := time_exceeded(kind=held.kind, seconds=held.seconds - CHECKPOINT_SECONDS):
                self._killed(held, broken)

    def _killed(self, held: leases.ActiveClaim, reason: str) -> None:
        logger.warning("job_process_killed", job_id=str(held.claim.job_id), runner=held.runner, reason=reason)
        runner_kill(held.runner)
        failures.claim_abandon(claim=held.claim, error=reason)

    def _died(self, held: leases.ActiveClaim) -> None:
        """Blame a job for the end of its process, unless the worker is being stopped: that ends processes, too."""
        logger.warning("job_process_died", job_id=str(held.claim.job_id), runner=held.runner)
        if self._draining:
            leases.claim_release(claim=held.claim)
        else:
            failures.claim_abandon(claim=held.claim, error=f"The process {held.runner} that did the job died.")

    def _spare_leases(self) -> None:
        """Reclaim nothing for one lease: while PostgreSQL was away no living worker could renew either."""
        self._reap_after = time.monotonic() + settings.JOBS_LEASE_SECONDS
