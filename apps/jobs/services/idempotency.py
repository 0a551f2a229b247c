"""Idempotency keys: a request sent again under its key is answered with the stored response.

One transaction holds the row of the key, the effect of the request and the stored response, so a crash undoes all three. A
second request under the same key waits at the unique index until that transaction ends.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import OperationalError, connection, transaction

from apps.jobs.models import IdempotencyKey
from apps.practices.database.keys import uuid7
from apps.practices.errors import Conflict, Unprocessable
from apps.practices.mechanisms.metrics import count

WAIT_SECONDS = 2.0  # for the request that holds the key
FIRST_WAIT_SECONDS = 0.05  # before a request counts as one of WAITERS_MAX
WAITERS_MAX = 2  # per process: each holds a thread and a connection that other clients need
RESPONSE_BYTES_MAX = 1024**2  # a larger response needs a URL of its own

# Set lock_timeout until the end of the transaction, and return its previous value.
_SET_LOCK_TIMEOUT = """
    WITH setting AS MATERIALIZED (SELECT current_setting('lock_timeout') AS previous)
    SELECT previous, set_config('lock_timeout', %s, true) FROM setting
"""
# An expired row that has not been pruned yet is taken over.
_CLAIM = """
    INSERT INTO jobs_idempotencykey AS stored (id, owner_id, method, route, key, fingerprint, headers, body)
    VALUES (%s, %s, %s, %s, %s, %s, '{}', '')
    ON CONFLICT (owner_id, method, route, key) DO UPDATE SET fingerprint = EXCLUDED.fingerprint, created_at = now()
    WHERE stored.created_at < now() - make_interval(hours => %s)
    RETURNING id
"""


class IdempotencyKeyInUse(Conflict, type="idempotency-key-in-use", title="Request in progress"):
    explanation = (
        "A request with this Idempotency-Key is still being processed. Send yours again with the same key after the number of "
        "seconds in Retry-After. You get that request's response or, if it failed, your request is processed."
    )
    retry_after = 1


class IdempotencyKeyReused(Unprocessable, type="idempotency-key-reused", title="Idempotency-Key reused"):
    explanation = (
        "This Idempotency-Key was already used for a different request. Use a key for one request and its repetitions only, "
        "and create a new key for each new request."
    )


class ResponseTooLarge(ValueError):
    """A view returned more than RESPONSE_BYTES_MAX, which is a bug in the view. Its effect is undone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyedRequest:
    """A request and its key, which is valid for one owner, method and route template. ``fingerprint`` is a SHA-256."""

    owner_id: UUID
    method: str
    route: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredResponse:
    """The parts of a response that are stored and sent again."""

    status: int
    headers: dict[str, str]
    body: bytes


_waiters = threading.BoundedSemaphore(WAITERS_MAX)


def respond_once(*, request: KeyedRequest, handle: Callable[[], StoredResponse]) -> tuple[StoredResponse, bool]:
    """Handle the request and store its response, or return the stored one. Return the response and whether it was stored.

    If ``handle`` raises, or responds with 400 or above, everything is undone and the key stays free. Raises
    ``IdempotencyKeyInUse`` when the request that holds the key does not end within WAIT_SECONDS, or too many others wait
    already; ``IdempotencyKeyReused`` when the key belongs to a different request; ``ResponseTooLarge``.
    """
    try:
        return _respond(request, handle, wait=FIRST_WAIT_SECONDS)
    except IdempotencyKeyInUse:
        if not _waiters.acquire(blocking=False):
            raise
    try:
        return _respond(request, handle, wait=WAIT_SECONDS)
    finally:
        _waiters.release()


def _respond(
    request: KeyedRequest, handle: Callable[[], StoredResponse], *, wait: float
) -> tuple[StoredResponse, bool]:
    with transaction.atomic(durable=True):
        row_id = _claim(request, wait=wait)
        if row_id is None:
            return _stored(request), True
        response = handle()
        if response.status >= 400:
            transaction.set_rollback(True)
        elif len(response.body) > RESPONSE_BYTES_MAX:
            raise ResponseTooLarge(
                f"{request.method} {request.route} returned {len(response.body)} bytes under an Idempotency-Key; "
                f"at most {RESPONSE_BYTES_MAX} can be stored."
            )
        else:
            columns = {"status": response.status, "headers": response.headers, "body": response.body}
            IdempotencyKey.objects.filter(pk=row_id).update(**columns)
        return response, False


def _claim(request: KeyedRequest, *, wait: float) -> UUID | None:
    """Claim the key and return the id of its row, or None if a response is stored. Waits for at most ``wait`` seconds."""
    values = (uuid7(), request.owner_id, request.method, request.route, request.key, request.fingerprint)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_SET_LOCK_TIMEOUT, (f"{round(wait * 1000)}ms",))
            previous = cursor.fetchone()[0]
            cursor.execute(_CLAIM, (*values, settings.RETENTION_IDEMPOTENCY))
            row = cursor.fetchone()
            if row:
                cursor.execute(_SET_LOCK_TIMEOUT, (previous,))  # the view waits for its locks as usual
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
            raise IdempotencyKeyInUse from error
        raise
    return row and row[0]


def _stored(request: KeyedRequest) -> StoredResponse:
    row = IdempotencyKey.objects.filter(
        owner_id=request.owner_id, method=request.method, route=request.route, key=request.key
    ).first()
    if row is None or row.status is None:  # deleted after the claim saw it: the next try finds the key free
        raise IdempotencyKeyInUse
    if bytes(row.fingerprint) != request.fingerprint:
        raise IdempotencyKeyReused
    transaction.on_commit(partial(count, "idempotency_replayed"), robust=True)
    return StoredResponse(status=row.status, headers=row.headers, body=bytes(row.body))
