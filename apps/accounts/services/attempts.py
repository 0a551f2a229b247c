"""Tries at one account's password are counted in PostgreSQL, by the database's clock, whatever address they come from.

A try counts before its hash is computed, in one statement, so that of any number at once TOKENS_ATTEMPTS are computed and no
more. From then on each refuses the next ones for a time that doubles, up to TOKENS_REFUSAL_LONGEST_SECONDS; nothing sleeps.
TOKENS_ATTEMPTS_WINDOW_SECONDS without a try, or a success, and all is forgotten. An address without an account is counted
alike. A device that has signed in to the account before (`devices`) has a count of its own. Keys are made with SECRET_KEY:
after its change every count starts from zero.
"""

from __future__ import annotations

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
from apps.practices.validation.addresses import email_normalised

_HALF = DIGEST_BYTES // 2
logger = structlog.get_logger("security")


class AttemptPurpose(StrEnum):
    """What is counted apart from each other: a flood at one door leaves the others open."""

    SIGN_IN = "sign-in"
    AGAIN = "password again"  # asked of somebody who is signed in; strangers cannot use up these
    MAIL = "mail"  # what sends a mail to an address; there is no success, each one counts
    RESET = "reset"  # mails, too; registering a taken address sends none and must not keep its owner from this one


class TooManyAttempts(Problem):
    """429: the account was tried too often. Said before anything is looked up, so alike whether it exists."""

    status = 429
    type = "too-many-attempts"
    title = "Too many attempts"
    explanation = (
        "This address was tried too often in a short time, by whoever it was. Try again after the time in Retry-After, "
        "which doubles with every try in vain. Those who are signed in stay so, and links that were mailed work."
    )


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One counted try; ``number`` is which one it was."""

    key: bytes
    number: int


_REFUSED = """
SELECT extract(epoch FROM refused_until - clock_timestamp())::float FROM accounts_attemptcount
WHERE key = %(key)s AND refused_until > clock_timestamp()
"""
# A rival waits for the row, then sees what the other has left; its time is read after the wait.
_COUNTED = """
INSERT INTO accounts_attemptcount AS kept (key, failures, counted_since, refused_until, expires_at)
VALUES (%(key)s, 1, clock_timestamp(), NULL, clock_timestamp() + make_interval(secs => %(window)s))
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
    """Count one try, to stay counted until it succeeds; raises TooManyAttempts.

    ``device`` is the name of one that is known to the account (`device_known`), whose tries are counted by themselves. Never
    within a transaction, which could take the count back.
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
        refused = _first(_REFUSED, key=key) or 0  # a rival took the last one
    seconds = max(1, math.ceil(refused))
    logger.warning("attempt_refused", purpose=purpose.value, retry_after=seconds)
    raise TooManyAttempts(retry_after=seconds)


def attempt_return(attempt: Attempt) -> None:
    """Take back a try that was not carried out."""
    latest = When(failures=attempt.number, then=Value(None))
    AttemptCount.objects.filter(key=attempt.key, failures__gt=0).update(
        failures=F("failures") - 1, refused_until=Case(latest, default=F("refused_until"))
    )


def attempt_succeeded(attempt: Attempt) -> None:
    """Forget the tries that led to a success."""
    AttemptCount.objects.filter(key=attempt.key).delete()


def attempts_forget(*, email: str) -> list[AttemptCount]:
    """Forget every try for every purpose from every device; give what was counted."""
    of_account = Q()
    for prefix in (_account(purpose, email) for purpose in AttemptPurpose):
        of_account |= Q(key__range=(prefix + bytes(_HALF), prefix + b"\xff" * _HALF))
    rows = AttemptCount.objects.filter(of_account)
    counted = list(rows.filter(failures__gt=0))
    rows.delete()
    return counted


def account_unlock(*, user: User, now: datetime) -> list[AttemptCount]:
    """Let an account be tried again at once, and write that down; give what was counted."""
    with transaction.atomic():
        counted = attempts_forget(email=user.email)
        tries = sum(count.failures for count in counted)
        event_record(SecurityEventKind.UNLOCKED, now=now, user_id=user.pk, tries=tries)
    return counted


def _key(purpose: AttemptPurpose, email: str, device: str) -> bytes:
    """Return the key of a count: half of it says whose it is, the other which device's; zeros are all strangers'."""
    told = salted_hmac("accounts.attempts.device", device, algorithm="sha256").digest() if device else bytes(_HALF)
    return _account(purpose, email) + told[:_HALF]


def _account(purpose: AttemptPurpose, email: str) -> bytes:
    salt = f"accounts.attempts.{purpose.value}"
    return salted_hmac(salt, email_normalised(email), algorithm="sha256").digest()[:_HALF]


def _first(query: str, **parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        row = cursor.fetchone()
    return row[0] if row else None
