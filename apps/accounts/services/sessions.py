"""Sign-ins begin, rotate and end. A refresh family is the row that every one of their tokens answers to.

Of all uses of one refresh token exactly one mints a successor: the row is locked first. The immediate predecessor gets
that same successor again for TOKENS_GRACE_SECONDS (an answer was lost, two tabs asked at once). Anything older is a
copy in other hands, and ends the family (RFC 9700, 4.14.2; OWASP ASVS 5.0, 10.4.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from apps.accounts.models import DEVICE_MAX_LENGTH, FamilyEnd, RefreshFamily, User
from apps.accounts.selectors.sessions import session_forget, sessions_forget
from apps.accounts.services.tokens import AccessToken, RefreshToken, TokenRefused, token_id_new
from apps.practices.errors import Problem

logger = structlog.get_logger(__name__)


class TokenReused(Problem):
    """401: a refresh token that was used up came again, so its sign-in has been ended."""

    status = 401
    type = "token-reused"
    title = "Refresh token used twice"
    explanation = (
        "A refresh token works once. This one had been used before, which is what a stolen copy looks like, so the "
        "sign-in it belongs to has been ended for everybody who holds a token of it. Sign in again."
    )

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": 'Bearer realm="api", error="invalid_token"'})


@dataclass(frozen=True, kw_only=True)
class TokenPair:
    """The tokens of a sign-in, encoded; `expires_in` is in seconds and the access token's."""

    access: str
    refresh: str
    expires_in: int
    family_id: UUID


def session_start(*, user: User, device: str, address: str | None, now: datetime) -> TokenPair:
    """Sign a user in: a new family and its first pair."""
    family = RefreshFamily(
        user=user,
        current_id=token_id_new(),
        current_issued_at=now,
        device=device[:DEVICE_MAX_LENGTH],
        address=address,
        created_at=now,
        last_used_at=now,
        expires_at=now + timedelta(seconds=settings.TOKENS_REFRESH_SECONDS),
    )
    family.save(force_insert=True)
    logger.info("session_started", family_id=str(family.pk), user_id=str(user.pk))
    return _pair(family, now=now)


def session_refresh(*, token: str, device: str, address: str | None, now: datetime) -> TokenPair:
    """Change a refresh token for a new pair.

    Raises TokenRefused (not ours, expired, its sign-in over) and TokenReused; the end of the family that the latter
    tells of is committed by then.
    """
    refresh = RefreshToken.read(token)
    device = device[:DEVICE_MAX_LENGTH]
    with transaction.atomic():
        family = _locked(refresh.family_id)
        if family is None or not _stands(family, now=now):
            raise TokenRefused("The sign-in has ended.")
        if refresh.id == family.current_id:
            _rotate(family, device=device, address=address, now=now)
        elif not _in_grace(family, token_id=refresh.id, device=device, now=now):
            session_end(family_id=family.pk, reason=FamilyEnd.REUSE, now=now)
            family = None
    if family is None:
        logger.warning("refresh_token_reused", family_id=str(refresh.family_id))
        raise TokenReused()
    return _pair(family, now=now)


def _locked(family_id: UUID) -> RefreshFamily | None:
    families = RefreshFamily.objects.select_for_update(of=("self",)).select_related("user").defer("user__password")
    return families.filter(pk=family_id).first()


def _stands(family: RefreshFamily, *, now: datetime) -> bool:
    return family.ended_at is None and family.expires_at > now and family.user.is_active


def _rotate(family: RefreshFamily, *, device: str, address: str | None, now: datetime) -> None:
    family.previous_id, family.previous_issued_at = family.current_id, family.current_issued_at
    family.current_id, family.current_issued_at = token_id_new(), now
    family.rotated_at = family.last_used_at = now
    family.device, family.address = device, address  # a browser that updated itself is the same sign-in
    family.save(
        update_fields=[
            "previous_id",
            "previous_issued_at",
            "current_id",
            "current_issued_at",
            "rotated_at",
            "last_used_at",
            "device",
            "address",
        ]
    )


def _in_grace(family: RefreshFamily, *, token_id: UUID, device: str, now: datetime) -> bool:
    """Whether this is the immediate predecessor, again, from the device that used it, soon enough."""
    return (
        token_id == family.previous_id
        and family.rotated_at is not None
        and now - family.rotated_at <= timedelta(seconds=settings.TOKENS_GRACE_SECONDS)
        and device == family.device
    )


def _pair(family: RefreshFamily, *, now: datetime) -> TokenPair:
    """Sign the family's current refresh token, from stored ids and times alone, and an access token of now."""
    access_ends = min(now + timedelta(seconds=settings.TOKENS_ACCESS_SECONDS), family.expires_at)
    refresh = RefreshToken.mint(
        family_id=family.pk,
        token_id=family.current_id,
        issued_at=family.current_issued_at,
        expires_at=family.expires_at,
    )
    access = AccessToken.mint(family_id=family.pk, token_id=token_id_new(), issued_at=now, expires_at=access_ends)
    return TokenPair(
        access=str(access),
        refresh=str(refresh),
        expires_in=int((access_ends - now).total_seconds()),
        family_id=family.pk,
    )


def session_end(*, family_id: UUID, reason: FamilyEnd, now: datetime) -> bool:
    """End one sign-in; False when it had ended before. No token of it works from the commit on."""
    ended = _end(reason=reason, now=now, pk=family_id)
    transaction.on_commit(lambda: session_forget(family_id=family_id))
    return ended > 0


def sessions_end(*, user_id: UUID, reason: FamilyEnd, now: datetime) -> int:
    """End every sign-in of a user; give how many there were."""
    ended = _end(reason=reason, now=now, user_id=user_id)
    transaction.on_commit(lambda: sessions_forget(user_id=user_id))
    return ended


def _end(*, reason: FamilyEnd, now: datetime, **which: UUID) -> int:
    ended = RefreshFamily.objects.filter(ended_at=None, **which).update(ended_at=now, ended_reason=reason)
    if ended:
        names = {name: str(value) for name, value in which.items()}
        logger.info("sessions_ended", reason=reason.value, count=ended, **names)
    return ended
