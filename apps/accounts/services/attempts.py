"""Count attempts at an account's password, in PostgreSQL and by its clock, from any IP address.

An attempt is counted before its hash is computed, in one statement, so that of any number of parallel attempts only
TOKENS_ATTEMPTS are computed. After that, each attempt refuses the next ones for a time that doubles; nothing sleeps. A success,
or a time without attempts, clears the count. Addresses without an account are counted too, and devices that have signed in before
(`devices`) have their own count. The keys depend on SECRET_KEY: changing it resets every count.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, F, Q, Value, When
from django.utils.crypto import salted_hmac

from apps.accounts.models import DIGEST_BYTES, AttemptCount, SecurityEventKind, User
from apps.accounts.services.events import event_record
from apps.practices.errors import Problem
from apps.practices.mechanisms.metrics import count
from apps.practices.validation.addresses import email_normalised

_HALF = DIGEST_BYTES // 2
logger = structlog.get_logger("security")


class AttemptPurpose(StrEnum):
    """A separate count of attempts, so that exhausting one leaves the others open."""

    SIGN_IN = "sign-in"
    CONFIRM = "confirm"  # by a signed-in user; strangers cannot use this count up
    MAIL = "mail"  # sends a mail to an address; each one counts, as there is no success
    RESET = "reset"  # a mail too, counted apart: registrations of an address must not block its owner's reset


class TooManyAttempts(Problem, status=429, type="too-many-attempts", title="Too many attempts"):
    """429: too many attempts at an account. Raised before any look-up, so it does not reveal whether the account exists."""

    explanation = (
        "There were too many attempts for this e-mail address, by you or someone else. Try again after the time in "
        "Retry-After, which doubles with each failed attempt. Sessions that exist and mailed links still work."
    )


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A counted attempt; ``number`` is its position in the count."""

    key: bytes
    number: int


_REFUSED = """
SELECT extract(epoch FROM refused_until - clock_timestamp())::float FROM accounts_attemptcount
WHERE key = %(key)s AND refused_until > clock_timestamp()
"""
# A parallel attempt waits for the row lock, then counts on from the result; its time is read after the wait.
_COUNTED = """
INSERT INTO accounts_attemptcount AS kept (key, failures, counted_since, refused_until, expires_at)
VALUES (
    %(key)s, 1, clock_timestamp(), CASE WHEN %(free)s <= 1 THEN clock_timestamp() + interval '1 second' END,
    clock_timestamp() + make_interval(secs => %(window)s)
)
ON CONFLICT (key) DO UPDATE SET (failures, counted_since, refused_until, expires_at) = (
    SELECT number, since, until, coalesce(until, at) + make_interval(secs => %(window)s)
    FROM (SELECT clock_timestamp() AS at) AS clock
    CROSS JOIN LATERAL (SELECT
        CASE WHEN kept.expires_at > at THEN kept.failures + 1 ELSE 1 END AS number,
        CASE WHEN kept.expires_at > at THEN kept.counted_since ELSE at END AS since
    ) AS counted
    CROSS JOIN LATERAL (SELECT CASE WHEN number >= %(free)s THEN
        at + make_interval(secs => least(%(longest)s, 2 ^ least(number - %(free)s, 30)))
    END AS until) AS refused
)
WHERE kept.refused_until IS NULL OR kept.refused_until <= clock_timestamp()
RETURNING kept.failures
"""


def attempt_begin(*, purpose: AttemptPurpose, email: str, device: str = "") -> Attempt:
    """Count an attempt, which stays counted unless it succeeds; raise TooManyAttempts.

    ``device`` is the name of a device that the account knows (`device_known`), which has its own count. Do not call this in a
    transaction: a rollback would undo the count.
    """
    key = _key(purpose, email, device)
    refused = _first(_REFUSED, key=key)
    if refused is None:
        with transaction.atomic(durable=True):
            number = _first(
                _COUNTED,
                key=key,
                window=settings.TOKENS_ATTEMPTS_WINDOW_SECONDS,
                free=settings.TOKENS_ATTEMPTS,
                longest=settings.TOKENS_REFUSAL_LONGEST_SECONDS,
            )
        if number is not None:
            return Attempt(key=key, number=number)
        refused = _first(_REFUSED, key=key) or 0  # a parallel attempt was the last one allowed
    seconds = max(1, math.ceil(refused))
    count("account_attempts_refused", purpose=purpose.value)
    logger.warning("attempt_refused", purpose=purpose.value, retry_after=seconds)
    raise TooManyAttempts(retry_after=seconds)


def attempt_cancel(attempt: Attempt) -> None:
    """Uncount an attempt that was not carried out."""
    latest = When(failures=attempt.number, then=Value(None))
    AttemptCount.objects.filter(key=attempt.key, failures__gt=0).update(
        failures=F("failures") - 1, refused_until=Case(latest, default=F("refused_until"))
    )


def attempt_succeeded(attempt: Attempt) -> None:
    AttemptCount.objects.filter(key=attempt.key).delete()


def attempts_clear(*, email: str) -> list[AttemptCount]:
    """Clear the counts for every purpose and device; return those that were not zero."""
    of_account = Q()
    for prefix in (_account(purpose, email) for purpose in AttemptPurpose):
        of_account |= Q(key__range=(prefix + bytes(_HALF), prefix + b"\xff" * _HALF))
    rows = AttemptCount.objects.filter(of_account)
    counted = list(rows.filter(failures__gt=0))
    rows.delete()
    return counted


def account_unlock(*, user: User, now: datetime) -> list[AttemptCount]:
    """Clear the counts of an account and record an event; return the counts that were not zero."""
    with transaction.atomic():
        counted = attempts_clear(email=user.email)
        failures = sum(count.failures for count in counted)
        event_record(SecurityEventKind.UNLOCKED, now=now, user_id=user.pk, failures=failures)
    return counted


def _key(purpose: AttemptPurpose, email: str, device: str) -> bytes:
    """Return the key of a count: one half for the account, the other for the device, which is zeros if unknown."""
    half = salted_hmac("accounts.attempts.device", device, algorithm="sha256").digest() if device else bytes(_HALF)
    return _account(purpose, email) + half[:_HALF]


def _account(purpose: AttemptPurpose, email: str) -> bytes:
    salt = f"accounts.attempts.{purpose.value}"
    return salted_hmac(salt, email_normalised(email), algorithm="sha256").digest()[:_HALF]


def _first(query: str, **parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        row = cursor.fetchone()
    return row[0] if row else None
