"""Requests under a key of their client's: carried out once, and answered again with the same bytes.

One transaction holds the key's row, the effect and the answer. So a death in between undoes all three, and whoever comes
with the same key meanwhile waits at the unique index for how it ends: a rival.
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

WAIT_SECONDS = 2.0  # for who holds the key
GLANCE_SECONDS = 0.05
RIVALS = 2  # that may wait in a process: each holds a thread and a connection, which other clients need, too
ANSWER_BYTES = 1024**2  # an answer tells of what was created; a larger one belongs behind an address of its own

# Until the end of the transaction; gives what it was.
_BOUND = """
    WITH held AS MATERIALIZED (SELECT current_setting('lock_timeout') AS before)
    SELECT before, set_config('lock_timeout', %s, true) FROM held
"""
# Also takes over a row whose time is over and that nobody has pruned yet.
_CLAIM = """
    INSERT INTO jobs_idempotencykey AS held (id, owner_id, method, route, key, fingerprint, headers, answer)
    VALUES (%s, %s, %s, %s, %s, %s, '{}', '')
    ON CONFLICT (owner_id, method, route, key) DO UPDATE SET fingerprint = EXCLUDED.fingerprint, created_at = now()
    WHERE held.created_at < now() - make_interval(hours => %s)
    RETURNING id
"""


class IdempotencyKeyInUse(Conflict):
    """The request that holds the key has not ended yet."""

    status = 409
    type = "idempotency-key-in-use"
    title = "Still at work"
    explanation = (
        "A request with this Idempotency-Key is being carried out. Repeat yours, with the same key, after the time in "
        "Retry-After: it gets that one's answer, or is carried out if that one failed."
    )
    retry_after = 1


class IdempotencyKeyReused(Unprocessable):
    """The key stands for another request."""

    status = 422
    type = "idempotency-key-reused"
    title = "Key used for another request"
    explanation = (
        "This Idempotency-Key was sent with a request of another content, which was carried out. A key stands for one "
        "request and its repetitions: make a new one for each new request."
    )


_rivals = threading.BoundedSemaphore(RIVALS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request and its key. A key is its owner's, and counts for one method and route template; ``fingerprint`` is the
    SHA-256 of what is asked."""

    owner_id: UUID
    method: str
    route: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What is stored of an answer, and sent again."""

    status: int
    headers: dict[str, str]
    body: bytes


class AnswerTooLarge(ValueError):
    """An answer of more than ANSWER_BYTES: a mistake of the view's, whose effect is undone."""


def answer_once(*, asked: Asked, carry_out: Callable[[], Answer]) -> tuple[Answer, bool]:
    """Carry a request out and store its answer, or give the one that is stored; say whether it is that one.

    What ``carry_out`` raises, or answers with 400 or above, undoes everything: nothing is stored, and the key is free.
    Raises `IdempotencyKeyInUse` when who holds the key does not end within WAIT_SECONDS, or too many wait for that,
    `IdempotencyKeyReused` when the key stands for another request, `AnswerTooLarge`.
    """
    try:
        return _once(asked, carry_out, wait=GLANCE_SECONDS)
    except IdempotencyKeyInUse:
        if not _rivals.acquire(blocking=False):
            raise
    try:
        return _once(asked, carry_out, wait=WAIT_SECONDS)
    finally:
        _rivals.release()


def _once(asked: Asked, carry_out: Callable[[], Answer], *, wait: float) -> tuple[Answer, bool]:
    with transaction.atomic(durable=True):
        row_id = _claim(asked, wait=wait)
        if row_id is None:
            return _stored(asked), True
        answer = carry_out()
        if answer.status >= 400:
            transaction.set_rollback(True)
        elif len(answer.body) > ANSWER_BYTES:
            raise AnswerTooLarge(f"{len(answer.body)} bytes to be kept for {asked.method} {asked.route}")
        else:
            columns = {"status": answer.status, "headers": answer.headers, "answer": answer.body}
            IdempotencyKey.objects.filter(pk=row_id).update(**columns)
        return answer, False


def _claim(asked: Asked, *, wait: float) -> UUID | None:
    """Take the key and give its row; None when it stands for a request that has ended."""
    values = (uuid7(), asked.owner_id, asked.method, asked.route, asked.key, asked.fingerprint)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_BOUND, (f"{round(wait * 1000)}ms",))
            before = cursor.fetchone()[0]
            cursor.execute(_CLAIM, (*values, settings.RETENTION_IDEMPOTENCY))
            row = cursor.fetchone()
            if row:
                cursor.execute(_BOUND, (before,))  # as it is for whatever the view waits for
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
            raise IdempotencyKeyInUse from error
        raise
    return row and row[0]


def _stored(asked: Asked) -> Answer:
    row = IdempotencyKey.objects.filter(
        owner_id=asked.owner_id, method=asked.method, route=asked.route, key=asked.key
    ).first()
    if row is None or row.status is None:  # removed since the claim saw it: the next try finds the key free
        raise IdempotencyKeyInUse
    if bytes(row.fingerprint) != asked.fingerprint:
        raise IdempotencyKeyReused
    transaction.on_commit(partial(count, "idempotency_replayed"), robust=True)
    return Answer(status=row.status, headers=row.headers, body=bytes(row.answer))
