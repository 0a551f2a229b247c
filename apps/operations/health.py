"""Liveness and readiness.

``/healthz`` reports that the process answers, and touches no dependency. ``/readyz`` reports whether this instance should
receive requests. It is not ready (503) only for local reasons: if a shared dependency is down, taking out every instance
would turn a degraded service into no service. A dependency that is down is named with status 200, and so are queued
jobs that no running worker takes.
"""

from dataclasses import dataclass, field
from threading import Condition
from typing import Literal

import redis
import structlog
from cachetools import TTLCache, cached
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from apps.jobs.monitoring import ALIVE, queues_without_worker
from apps.operations.shutdown import is_draining
from apps.practices.database.connections import wait_limit
from apps.practices.database.replicas import replica_check
from apps.practices.mechanisms import metrics_store

State = Literal["ready", "degraded", "draining", "unmigrated"]
CHECK_SECONDS = 1.0
ANSWER_SECONDS = 0.5  # for PostgreSQL and for Redis; a load balancer gives up on an instance after two seconds

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """The state of this instance, and the result of each check by name."""

    state: State
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        return self.state in ("ready", "degraded")


def database_check() -> str:
    """Return ``ok`` if PostgreSQL answers a query, else ``down``."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "down"
    return "ok"


def redis_check() -> str:
    """Return ``ok`` if Redis answers within half a second, else ``down``."""
    try:
        metrics_store.client().ping()
    except redis.RedisError:
        return "down"
    return "ok"


def workers_check() -> str | None:
    """Return which queues have jobs but no worker; None if every queue has one, or PostgreSQL does not answer."""
    try:
        queues, any_seen = queues_without_worker()
    except DatabaseError:
        return None
    if not queues:
        return None
    which = f"none for {', '.join(queues)}" if any_seen else "none"
    return f"{which} seen for {ALIVE.seconds} s"


_is_migrated = False  # once true it stays so: nothing takes migrations back while an instance runs


def migrations_check(database: str) -> str:
    """Return whether all migrations are applied: ``ok``, ``missing`` or ``unknown``. Once ``ok``, do not ask again."""
    global _is_migrated
    if _is_migrated:
        return "ok"
    if database != "ok":
        return "unknown"
    try:
        missing = migrations_missing()
    except DatabaseError:
        return "unknown"
    _is_migrated = not missing
    if missing:
        logger.warning("migrations_missing", migrations=missing)
    return "ok" if _is_migrated else "missing"


def migrations_missing() -> list[str]:
    """Return the migrations that this code needs and the database lacks. Migrations of a newer release do not count."""
    executor = MigrationExecutor(connection)
    return [str(migration) for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]


@cached(TTLCache(maxsize=1, ttl=CHECK_SECONDS), condition=Condition())
def dependency_checks() -> dict[str, str]:
    """Return the result of each check, at most one second old however often this is called."""
    with wait_limit(ANSWER_SECONDS):
        database = database_check()
        results = {"database": database, "migrations": migrations_check(database), "redis": redis_check()}
        if (replica := replica_check()) is not None:
            results["replica"] = replica
        if database == results["migrations"] == "ok" and (workers := workers_check()) is not None:
            results["workers"] = workers
        return results


def readiness() -> Readiness:
    """Return whether this instance should receive requests, with the reasons."""
    if is_draining():
        return Readiness(state="draining")
    checks = dependency_checks()
    if checks["migrations"] == "missing":
        return Readiness(state="unmigrated", checks=checks)
    if "down" in checks.values() or "workers" in checks:
        return Readiness(state="degraded", checks=checks)
    return Readiness(state="ready", checks=checks)
