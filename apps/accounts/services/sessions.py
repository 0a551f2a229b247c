"""Sign-ins begin, rotate and end. A refresh session is the row that every one of their tokens answers to.

Of all uses of one refresh token exactly one mints a successor: the row is locked first. The immediate predecessor gets
that same successor again for TOKENS_GRACE_SECONDS (an answer was lost, two tabs asked at once). Anything older is a
copy in other hands, and ends the session (RFC 9700, 4.14.2; OWASP ASVS 5.0, 10.4.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.accounts.models import EndReason, SecurityEventKind, Session, Transport, User
from apps.accounts.selectors.sessions import session_forget, session_list, sessions_forget, sessions_forget_all
from apps.accounts.services.events import NOWHERE, Origin, event_record
from apps.accounts.services.keys import key_ring
from apps.accounts.services.mails import Mail, mail_submit
from apps.accounts.services.tokens import LEEWAY_SECONDS, AccessToken, RefreshToken, TokenRefused, token_id_new
from apps.practices.errors import NotFound, Problem

END_BATCH = 500  # sign-ins a transaction, where a whole key's end: locks are held for moments


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


class SignInOvertaken(Problem):
    """401: the account was closed, or its password set anew, while this sign-in was being checked."""

    status = 401
    type = "sign-in-overtaken"
    title = "Account changed meanwhile"
    explanation = "The account changed while the sign-in was being checked. Sign in again."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": 'Bearer realm="api"'})


@dataclass(frozen=True, kw_only=True)
class TokenPair:
    """The tokens of a sign-in, encoded; ``expires_in`` is in seconds and the access token's."""

    access: str
    refresh: str
    expires_in: int
    refresh_until: datetime
    session_id: UUID
    transport: Transport


def session_start(*, user: User, origin: Origin, now: datetime, transport: Transport = Transport.BEARER) -> TokenPair:
    """Sign a user in, whose password was checked just now: a new session and its first pair. Raises SignInOvertaken."""
    return _pair(session_create(user=user, origin=origin, now=now, transport=transport), now=now)


def session_create(*, user: User, origin: Origin, now: datetime, transport: Transport) -> Session:
    """Store a new sign-in of a user whose password was checked just now; raises SignInOvertaken.

    The user's row is locked against a change of password or state: whoever ends all sign-ins finds this one among them, or
    has done so before, and then the row is no longer as it was checked.
    """
    lifetime = settings.SESSION_COOKIE_AGE if transport == Transport.ADMIN else settings.TOKENS_SESSION_SECONDS
    session = Session(
        user=user,
        transport=transport,
        current_id=token_id_new(),
        current_issued_at=now,
        signed_by="" if transport == Transport.ADMIN else key_ring().signing(at=now).kid,
        device=origin.device_stored,
        address=origin.address,
        created_at=now,
        last_used_at=now,
        expires_at=now + timedelta(seconds=lifetime),
    )
    with transaction.atomic():
        checked = User.objects.select_for_update(no_key=True).filter(pk=user.pk, is_active=True, password=user.password)
        if not checked.values_list("pk").first():
            raise SignInOvertaken()
        session.save(force_insert=True)
        event_record(
            SecurityEventKind.SIGN_IN,
            now=now,
            user_id=user.pk,
            session_id=session.pk,
            origin=origin,
            transport=transport.value,
        )
    return session


def session_refresh(*, token: str, origin: Origin, now: datetime, transport: Transport = Transport.BEARER) -> TokenPair:
    """Change a refresh token for a new pair.

    Raises TokenRefused (not ours, expired, its sign-in over, or of another transport) and TokenReused; the end of the
    session that the latter tells of is committed by then.
    """
    refresh = RefreshToken.read(token)
    with transaction.atomic():
        session = _locked(refresh.session_id)
        if session is None or session.transport != transport or not _stands(session, now=now):
            raise TokenRefused("The sign-in has ended.")
        is_current = refresh.id == session.current_id
        if is_current:
            _rotate(session, origin=origin, now=now)
    if is_current or _in_grace(session, token_id=refresh.id, origin=origin, now=now):
        return _pair(session, now=now)
    _end_reused(session, origin=origin, now=now)
    raise TokenReused()


def _locked(session_id: UUID) -> Session | None:
    sessions = Session.objects.select_for_update(of=("self",)).select_related("user").defer("user__password")
    return sessions.filter(pk=session_id).first()


def _stands(session: Session, *, now: datetime) -> bool:
    return session.ended_at is None and session.user.is_active and refresh_until(session) > now


def refresh_until(session: Session) -> datetime:
    """When the session's current refresh token expires: unused for too long, or the sign-in too old."""
    return min(session.current_issued_at + timedelta(seconds=settings.TOKENS_REFRESH_SECONDS), session.expires_at)


def _rotate(session: Session, *, origin: Origin, now: datetime) -> None:
    session.previous_id, session.previous_issued_at = session.current_id, session.current_issued_at
    session.current_id, session.current_issued_at = token_id_new(), now
    session.signed_by = key_ring().signing(at=now).kid
    session.rotated_at = session.last_used_at = now
    # A browser that updated itself is the same sign-in.
    session.device, session.address = origin.device_stored, origin.address
    session.save(
        update_fields=[
            "previous_id",
            "previous_issued_at",
            "current_id",
            "current_issued_at",
            "signed_by",
            "rotated_at",
            "last_used_at",
            "device",
            "address",
        ]
    )


def _in_grace(session: Session, *, token_id: UUID, origin: Origin, now: datetime) -> bool:
    """Whether this is the immediate predecessor, again, from the device that used it, soon enough.

    The clock may have been another instance's: it may lag as far as for a token, and a clock set back opens nothing more.
    """
    if token_id != session.previous_id or session.rotated_at is None or origin.device_stored != session.device:
        return False
    grace = settings.TOKENS_GRACE_SECONDS
    return grace > 0 and -LEEWAY_SECONDS <= (now - session.rotated_at).total_seconds() <= grace


def _end_reused(session: Session, *, origin: Origin, now: datetime) -> None:
    """End the session of a stolen token, write it down and tell its owner; raises TokenRefused when it has just ended.

    Commits, in a transaction of its own that locks the user before the sign-in, as every other end does. Whatever became
    of the sign-in since it was looked at, it ends: a token that came again stays stolen.
    """
    with transaction.atomic():
        if not session_end(session_id=session.pk, reason=EndReason.REUSE, now=now, origin=origin):
            raise TokenRefused("The sign-in has ended.")
        event_record(
            SecurityEventKind.TOKEN_REUSED, now=now, user_id=session.user_id, session_id=session.pk, origin=origin
        )
        mail_submit(template=Mail.TOKEN_REUSED, user_id=session.user_id)


def _pair(session: Session, *, now: datetime) -> TokenPair:
    """Sign the session's current refresh token, from stored ids and times alone, and an access token of now.

    The refresh token is signed by the key that signed it first. When that is gone, nobody takes what it signed, and the
    same token by a key of today is no second one: its id is what rotates.
    """
    ring = key_ring()
    signing = ring.signing(at=now)
    access_ends = min(now + timedelta(seconds=settings.TOKENS_ACCESS_SECONDS), session.expires_at)
    refresh = RefreshToken.mint(
        session_id=session.pk,
        token_id=session.current_id,
        issued_at=session.current_issued_at,
        expires_at=refresh_until(session),
        key=ring.verifying(kid=session.signed_by) or signing,
    )
    access = AccessToken.mint(
        session_id=session.pk, token_id=token_id_new(), issued_at=now, expires_at=access_ends, key=signing
    )
    return TokenPair(
        access=str(access),
        refresh=str(refresh),
        expires_in=int((access_ends - now).total_seconds()),
        refresh_until=refresh_until(session),
        session_id=session.pk,
        transport=Transport(session.transport),
    )


def session_end(*, session_id: UUID, reason: EndReason, now: datetime, origin: Origin = NOWHERE) -> bool:
    """End one sign-in; False when it had ended before. No token of it works from the commit on."""
    ended = _end(reason=reason, now=now, origin=origin, pk=session_id)
    transaction.on_commit(lambda: session_forget(session_id=session_id))
    return ended > 0


def session_end_own(*, user_id: UUID, session_id: UUID, now: datetime, origin: Origin) -> None:
    """End one of a user's sign-ins from another; raises NotFound unless it is theirs and stands."""
    standing = session_list(user_id=user_id, current=None, now=now).filter(pk=session_id)
    if not standing.exists() or not session_end(session_id=session_id, reason=EndReason.OWNER, now=now, origin=origin):
        raise NotFound()


def sessions_end(
    *, user_id: UUID, reason: EndReason, now: datetime, origin: Origin = NOWHERE, keep: UUID | None = None
) -> int:
    """End every sign-in of a user, but for the one to ``keep``; give how many there were."""
    ended = _end(reason=reason, now=now, origin=origin, keep=keep, user_id=user_id)
    transaction.on_commit(lambda: sessions_forget(user_id=user_id))
    return ended


def sessions_end_signed_by(*, kid: str, now: datetime) -> int:
    """End every sign-in whose refresh token that key has signed; give how many there were. Commits in batches."""
    ended, after = 0, UUID(int=0)
    signed = Session.objects.filter(ended_at=None, signed_by=kid).order_by("pk").values_list("pk", flat=True)
    while batch := list(signed.filter(pk__gt=after)[:END_BATCH]):
        ended, after = ended + _end(reason=EndReason.KEY, now=now, origin=NOWHERE, pk__in=batch), batch[-1]
        transaction.on_commit(sessions_forget_all)
    return ended


def _end(*, reason: EndReason, now: datetime, origin: Origin, keep: UUID | None = None, **which: Any) -> int:
    """End the sign-ins that stand among these, and write an event for each user whose they were.

    Users are locked before sign-ins, as a change of password, address or state and a deletion do: an event refers to its
    user, and whoever took the two the other way round could wait for one who waits for them.
    """
    with transaction.atomic():
        sign_ins = Session.objects.filter(ended_at=None, **which)
        if keep is not None:
            sign_ins = sign_ins.exclude(pk=keep)
        users = User.objects.filter(pk__in=sign_ins.values("user_id")).order_by("pk")
        list(users.select_for_update(no_key=True).values_list("pk"))
        standing = sign_ins.select_for_update(of=("self",))
        sessions = list(standing.order_by("user_id", "pk").values_list("user_id", "pk"))
        Session.objects.filter(pk__in=[pk for _, pk in sessions]).update(ended_at=now, ended_reason=reason)
        for user_id, group in groupby(sessions, key=itemgetter(0)):
            ids = [pk for _, pk in group]
            event_record(
                SecurityEventKind.SESSIONS_ENDED,
                now=now,
                user_id=user_id,
                session_id=ids[0] if len(ids) == 1 else None,
                origin=origin,
                reason=reason.value,
                count=len(ids),
            )
    return len(sessions)
