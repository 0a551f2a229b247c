"""Rotate the signing keys: a new key, without those that nothing valid is signed with or that have leaked."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from django.conf import settings

from apps.accounts.models import SecurityEventKind, Session
from apps.accounts.services.events import event_record
from apps.accounts.services.keys import KeyRing
from apps.accounts.services.sessions import sessions_end_signed_by

SIGNS_AFTER = timedelta(minutes=10)  # time to give every instance the new key before one signs with it
ROLLOUT_MAX = timedelta(days=1)  # how long an instance may run with the old ring and sign with an old key
NEW_KEY_BYTES = 48


class KeyUnknown(Exception):
    """The ring has no such key, and no active session is signed by one. The message says what the ring has."""


@dataclass(frozen=True, kw_only=True)
class RotatedRing:
    """A new ring: ``value`` as JWT_KEYS holds it, which is secret; its new key; and the kids of the keys it lacks."""

    kid: str
    sign_from: datetime
    dropped: tuple[str, ...]
    value: str = field(repr=False)


def keys_rotated(*, now: datetime, compromised: str | None = None) -> RotatedRing:
    """Return the ring with a new key, without the compromised one and those that no valid token can have."""
    entries: Sequence[Mapping[str, Any]] = settings.TOKENS_KEYS
    trusted = [entry for entry in entries if entry["kid"] != compromised]
    idle = _idle(trusted, now=now)
    kept = [entry for entry in trusted if entry["kid"] not in idle]
    has_signing_key = any(entry["sign_from"] <= now for entry in kept)
    new: dict[str, Any] = {
        "kid": f"{now:%Y-%m-%d}-{secrets.token_hex(3)}",
        "key": secrets.token_urlsafe(NEW_KEY_BYTES),
        "sign_from": (now + SIGNS_AFTER if has_signing_key else now).replace(microsecond=0),
    }
    return RotatedRing(
        kid=new["kid"],
        sign_from=new["sign_from"],
        dropped=tuple(entry["kid"] for entry in entries if entry not in kept),
        value=json.dumps([_written(entry) for entry in [*kept, new]]),
    )


def key_compromised(*, kid: str, now: datetime) -> int:
    """End every session whose tokens this key signed, record an event, and return how many sessions ended.

    The ring need not have the key: an instance with the old ring may have started sessions since. Raise KeyUnknown.
    """
    known = [entry["kid"] for entry in settings.TOKENS_KEYS]
    if kid not in known and not Session.objects.filter(ended_at=None, signed_by=kid).exists():
        raise KeyUnknown(
            f"No key of the ring has the kid {kid!r}, and no active session is signed by one. "
            f"The ring has {', '.join(known)}."
        )
    event_record(SecurityEventKind.KEY_COMPROMISED, now=now, user_id=None, kid=kid)
    return sessions_end_signed_by(kid=kid, now=now)


def _idle(entries: Sequence[Mapping[str, Any]], *, now: datetime) -> set[str]:
    """Return the kids that no valid token can have: a newer key has been signing for longer than any token lives."""
    lives = timedelta(seconds=max(settings.TOKENS_REFRESH_SECONDS, settings.TOKENS_ACCESS_SECONDS)) + ROLLOUT_MAX
    newest_first = KeyRing(entries).keys
    return {older.kid for newer, older in pairwise(newest_first) if newer.sign_from + lives <= now}


def _written(entry: Mapping[str, Any]) -> dict[str, str]:
    sign_from = entry["sign_from"].astimezone(UTC).isoformat().replace("+00:00", "Z")
    return {"kid": entry["kid"], "key": entry["key"], "sign_from": sign_from}
