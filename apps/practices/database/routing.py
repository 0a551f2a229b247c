"""Reads from a replica, for GET requests of signed-in users (ADR 0035).

With DATABASE_REPLICA_URL the settings name ``ReplicaRouter`` and ``ReplicaMiddleware``; without it neither runs. Sessions,
permissions, jobs, everything in a transaction and everything that is cached is read from the primary.
"""

from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.db import DatabaseError, connections, models
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from redis.exceptions import RedisError

from apps.practices.database.replicas import REPLICA, ReplicaPermit, current_permit, replica
from apps.practices.mechanisms.metrics import count
from apps.practices.mechanisms.redis import redis_client

logger = structlog.get_logger(__name__)

PRIMARY = "default"
READS = ("GET", "HEAD")
SAFE = (*READS, "OPTIONS")
RETRIED = (503, 504)


class ReplicaRouter:
    """Django's database router: the primary, except for reads of requests with a permit."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        """Return the replica if the request may read it and it is reachable."""
        permit = current_permit.get()
        if permit is None or model._meta.app_label in settings.DATABASE_PRIMARY_APPS:
            return PRIMARY
        if connections[PRIMARY].in_atomic_block or not _is_allowed(permit):
            return PRIMARY
        try:
            connections[REPLICA].ensure_connection()
        except DatabaseError:
            return PRIMARY  # its breaker counted the failure and soon opens
        permit.was_used = True
        return REPLICA

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        """Return the primary."""
        return PRIMARY

    def allow_relation(self, left: models.Model, right: models.Model, **hints: Any) -> bool:
        """Return True: both servers have the same rows."""
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Return whether this is the primary."""
        return db == PRIMARY


class ReplicaMiddleware:
    """The innermost middleware: gives GET requests a permit, and pins users who write to the primary.

    A GET that failed after reading from the replica is handled once more, from the primary.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        if REPLICA not in settings.DATABASES:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method not in READS:
            response = self.get_response(request)
            if request.method not in SAFE:
                pin_to_primary(_user_id(request))
            return response
        permit = ReplicaPermit(request)
        held = current_permit.set(permit)
        try:
            response = self.get_response(request)
        finally:
            current_permit.reset(held)
        if permit.was_used and response.status_code in RETRIED:
            response.close()
            logger.warning("replica_failed", status=response.status_code)
            return self.get_response(request)
        return response


def pin_to_primary(user_id: object) -> None:
    """Make every process read from the primary for this user, for DATABASE_REPLICA_PINNED_SECONDS."""
    if user_id is None or not settings.DATABASE_REPLICA_PINNED_SECONDS:
        return
    try:
        redis_client().set(_key(user_id), b"1", ex=settings.DATABASE_REPLICA_PINNED_SECONDS)
    except RedisError:
        # Processes that cannot reach Redis read from the primary. Others may show data as old as the replica's lag.
        count("degraded", mode="replica_pin_lost")


def _is_allowed(permit: ReplicaPermit) -> bool:
    if permit.is_allowed is None:
        user_id = _user_id(permit.request)
        permit.is_allowed = user_id is not None and replica.is_fresh() and not _is_pinned(user_id)
    return permit.is_allowed


def _is_pinned(user_id: object) -> bool:
    try:
        return bool(redis_client().exists(_key(user_id)))
    except RedisError:
        return True  # unknown, so the primary is safe


def _user_id(request: HttpRequest) -> object:
    """Return the id of the authenticated user, None if the view has not authenticated the request."""
    user = request.__dict__.get("user")
    return user.pk if user is not None and user.is_authenticated else None


def _key(user_id: object) -> str:
    return f"{settings.CACHING_PREFIX}:wrote:{user_id}"
