"""Liveness and readiness.

``/healthz`` says that the process answers and touches nothing. ``/readyz`` says whether this instance should be given
requests: no (503) for reasons of its own only, since taking every instance out because a shared dependency is down would
turn half a service into none. A dependency that is down is named, with status 200, and so are jobs that wait while
no worker was seen.
"""

from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Literal

import redis
import structlog
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from apps.jobs.monitoring import SEEN, queues_without_worker
from apps.operations import lifecycle
from apps.practices.database.connections import waits_bounded
from apps.practices.database.replicas import replica_check
from apps.practices.mechanisms import metrics_store

State = Literal["ready", "degraded", "draining", "unmigrated"]
CHECK_SECONDS = 1.0
ANSWER_SECONDS = 0.5  # of PostgreSQL, of Redis: a load balancer gives an instance up after two

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """What this instance can say about itself: its state and, by name, how each check went."""

    state: State
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        """Whether the instance should be given requests."""
        return self.state in ("ready", "degraded")


class _Checks:
    """The last look at what this instance depends on, at most a second old however often it is asked for."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._looked_at = -CHECK_SECONDS
        self._found: dict[str, str] = {}
        self._migrated = False

    def found(self) -> dict[str, str]:
        with self._lock:
            if monotonic() - self._looked_at >= CHECK_SECONDS:
                with waits_bounded(ANSWER_SECONDS):
                    self._found = self._look()
                self._looked_at = monotonic()
            return self._found

    def _look(self) -> dict[str, str]:
        database = database_check()
        found = {"database": database, "migrations": self._migrations(database), "redis": redis_check()}
        if (replica := replica_check()) is not None:
            found["replica"] = replica
        if database == found["migrations"] == "ok" and (workers := workers_check()) is not None:
            found["workers"] = workers
        return found

    def _migrations(self, database: str) -> str:
        """Applied migrations do not go away again while an instance runs: found once, it is not asked again."""
        if self._migrated:
            return "ok"
        if database != "ok":
            return "unknown"
        try:
            missing = migrations_missing()
        except DatabaseError:
            return "unknown"
        self._migrated = not missing
        if missing:
            logger.warning("migrations_missing", migrations=missing)
        return "ok" if self._migrated else "missing"


def database_check() -> str:
    """Return ``ok`` when PostgreSQL answers a query, else ``down``."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "down"
    return "ok"


def redis_check() -> str:
    """Return ``ok`` when Redis answers within half a second, else ``down``."""
    try:
        metrics_store.client().ping()
    except redis.RedisError:
        return "down"
    return "ok"


def workers_check() -> str | None:
    """Say for which jobs that wait nobody works; None when there are none, or PostgreSQL does not say."""
    try:
        queues, any_seen = queues_without_worker()
    except DatabaseError:
        return None
    if not queues:
        return None
    which = f"none for {', '.join(queues)}" if any_seen else "none"
    return f"{which} seen for {SEEN.seconds} s"


def migrations_missing() -> list[str]:
    """Name the migrations that this code needs and the database lacks; one that a newer release added is no harm."""
    executor = MigrationExecutor(connection)
    return [str(migration) for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]


_checks = _Checks()


def readiness() -> Readiness:
    """Return whether this instance should be given requests, and why."""
    if lifecycle.is_draining():
        return Readiness(state="draining")
    checks = _checks.found()
    if checks["migrations"] == "missing":
        return Readiness(state="unmigrated", checks=checks)
    if "down" in checks.values() or "workers" in checks:
        return Readiness(state="degraded", checks=checks)
    return Readiness(state="ready", checks=checks)
