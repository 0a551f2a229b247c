"""Start, refresh and end sessions.

A refresh token works once: the session's row is locked first, so of any number of parallel uses exactly one rotates it. The
immediate predecessor gets the same successor again for TOKENS_GRACE_SECONDS (a response was lost, or two tabs asked at once).
Anything older is a stolen copy, and ends the session (RFC 9700, 4.14.2; OWASP ASVS 5.0, 10.4.5).
"""

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
from apps.accounts.services.tokens import (
    LEEWAY_SECONDS,
    AccessToken,
    RefreshToken,
    TokenRefused,
    Unauthorized,
    token_id_new,
)
from apps.practices.errors import NotFound

END_BATCH = 500  # sessions per transaction when all those of a key end, so that locks are held briefly


class TokenReused(Unauthorized, type="token-reused", title="Refresh token used twice"):
    explanation = (
        "A refresh token works only once. This one had already been used, which suggests that it was stolen, so its "
        "session has been ended for everyone who holds one of its tokens. Sign in again."
    )
    challenge = 'Bearer realm="api", error="invalid_token"'


class AccountChanged(Unauthorized, type="account-changed", title="Account changed"):
    """401: the account was deactivated, or its password changed, after this request had checked the password."""

    explanation = "The account changed while this request was being handled. Sign in again."


@dataclass(frozen=True, kw_only=True)
class TokenPair:
    """The encoded tokens of a session. ``expires_in`` is the life of the access token, in seconds."""

    access: str
    refresh: str
    expires_in: int
    refresh_until: datetime
    session_id: UUID
    transport: Transport


def session_start(
    *, user: User, origin: Origin, now: datetime, transport: Transport = Transport.BEARER, replaces: UUID | None = None
) -> TokenPair:
    """Start a session as `session_create` does, and return its first tokens."""
    session = session_create(user=user, origin=origin, now=now, transport=transport, replaces=replaces)
    return _token_pair(session, now=now)


def session_create(
    *, user: User, origin: Origin, now: datetime, transport: Transport, replaces: UUID | None = None
) -> Session:
    """Store a session of a user whose password has just been checked; raise AccountChanged.

    The user's row is locked and compared with what was checked. So a change of password or state that ends all sessions either
    ends this one too, or came first and is noticed here. ``replaces`` is the session that the same browser had before: it ends,
    so that signing in again leaves none behind (OWASP ASVS 5.0, 7.2.4).
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
            raise AccountChanged()
        session.save(force_insert=True)
        event_record(
            SecurityEventKind.SIGN_IN,
            now=now,
            user_id=user.pk,
            session_id=session.pk,
            origin=origin,
            transport=transport.value,
        )
    if replaces is not None:
        session_end(session_id=replaces, reason=EndReason.LOGOUT, now=now, origin=origin)
    return session


def session_refresh(*, token: str, origin: Origin, now: datetime, transport: Transport = Transport.BEARER) -> TokenPair:
    """Exchange a refresh token for a new pair.

    Raise TokenRefused if the token is invalid or expired, belongs to another transport, or its session has ended. Raise
    TokenReused for a token that was used before, once the end of its session has been committed.
    """
    refresh = RefreshToken.read(token)
    with transaction.atomic():
        session = _locked(refresh.session_id)
        if session is None or session.transport != transport or not _is_active(session, now=now):
            raise TokenRefused("The session has ended.")
        is_current = refresh.id == session.current_id
        if is_current:
            _rotate(session, origin=origin, now=now)
    if is_current or _in_grace(session, token_id=refresh.id, origin=origin, now=now):
        return _token_pair(session, now=now)
    _end_reused(session, origin=origin, now=now)
    raise TokenReused()


def _locked(session_id: UUID) -> Session | None:
    sessions = Session.objects.select_for_update(of=("self",)).select_related("user").defer("user__password")
    return sessions.filter(pk=session_id).first()


def _is_active(session: Session, *, now: datetime) -> bool:
    return session.ended_at is None and session.user.is_active and refresh_until(session) > now


def refresh_until(session: Session) -> datetime:
    """Return when the session's current refresh token expires: unused for too long, or the session too old."""
    return min(session.current_issued_at + timedelta(seconds=settings.TOKENS_REFRESH_SECONDS), session.expires_at)


def _rotate(session: Session, *, origin: Origin, now: datetime) -> None:
    columns = {
        "previous_id": session.current_id,
        "previous_issued_at": session.current_issued_at,
        "current_id": token_id_new(),
        "current_issued_at": now,
        "signed_by": key_ring().signing(at=now).kid,
        "rotated_at": now,
        "last_used_at": now,
        "device": origin.device_stored,  # a browser that has updated itself has a new User-Agent, in the same session
        "address": origin.address,
    }
    for name, value in columns.items():
        setattr(session, name, value)
    session.save(update_fields=columns)


def _in_grace(session: Session, *, token_id: UUID, origin: Origin, now: datetime) -> bool:
    """Return whether this is the immediate predecessor, used again by the same device within the grace period.

    Another instance's clock may have set `rotated_at`, so it may be up to LEEWAY_SECONDS in the future.
    """
    if token_id != session.previous_id or session.rotated_at is None or origin.device_stored != session.device:
        return False
    grace = settings.TOKENS_GRACE_SECONDS
    return grace > 0 and -LEEWAY_SECONDS <= (now - session.rotated_at).total_seconds() <= grace


def _end_reused(session: Session, *, origin: Origin, now: datetime) -> None:
    """End the session of a stolen token, record that, and mail the user; raise TokenRefused if it has just ended.

    Commits in a transaction of its own, which locks the user before the session, as every other end does. The session ends
    even if it was refreshed since it was read: a token used twice is stolen.
    """
    with transaction.atomic():
        if not session_end(session_id=session.pk, reason=EndReason.REUSE, now=now, origin=origin):
            raise TokenRefused("The session has ended.")
        event_record(
            SecurityEventKind.TOKEN_REUSED, now=now, user_id=session.user_id, session_id=session.pk, origin=origin
        )
        mail_submit(template=Mail.TOKEN_REUSED, user_id=session.user_id)


def _token_pair(session: Session, *, now: datetime) -> TokenPair:
    """Sign the session's current refresh token, from stored ids and times alone, and a new access token.

    The refresh token is signed with the key that signed it first, so that it is the same byte for byte. If that key is gone,
    nothing it signed is valid, and signing the same token with a current key makes no second one: rotation goes by its id.
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
    """End a session, and return False if it had already ended. None of its tokens works once this has committed."""
    ended = _end(reason=reason, now=now, origin=origin, pk=session_id)
    transaction.on_commit(lambda: session_forget(session_id=session_id))
    return ended > 0


def session_end_own(*, user_id: UUID, session_id: UUID, now: datetime, origin: Origin) -> None:
    """End one of a user's sessions from another; raise NotFound unless it is theirs and active."""
    own = session_list(user_id=user_id, current=None, now=now).filter(pk=session_id)
    if not own.exists() or not session_end(session_id=session_id, reason=EndReason.OWNER, now=now, origin=origin):
        raise NotFound()


def sessions_end(
    *, user_id: UUID, reason: EndReason, now: datetime, origin: Origin = NOWHERE, keep: UUID | None = None
) -> int:
    """End every session of a user except the one to ``keep``; return how many ended."""
    ended = _end(reason=reason, now=now, origin=origin, keep=keep, user_id=user_id)
    transaction.on_commit(lambda: sessions_forget(user_id=user_id))
    return ended


def sessions_end_signed_by(*, kid: str, now: datetime) -> int:
    """End every session whose refresh token this key signed, in batches that commit; return how many ended."""
    ended, after = 0, UUID(int=0)
    signed = Session.objects.filter(ended_at=None, signed_by=kid).order_by("pk").values_list("pk", flat=True)
    while batch := list(signed.filter(pk__gt=after)[:END_BATCH]):
        ended, after = ended + _end(reason=EndReason.KEY, now=now, origin=NOWHERE, pk__in=batch), batch[-1]
        transaction.on_commit(sessions_forget_all)
    return ended


def _end(*, reason: EndReason, now: datetime, origin: Origin, keep: UUID | None = None, **which: Any) -> int:
    """End the active ones of these sessions, record an event for each user, and return how many ended.

    Lock order, to avoid deadlocks: users first, then sessions, as in a change of password, address or state and in a deletion.
    The event refers to the user, so its insert needs a lock on that row too.
    """
    with transaction.atomic():
        active = Session.objects.filter(ended_at=None, **which)
        if keep is not None:
            active = active.exclude(pk=keep)
        users = User.objects.filter(pk__in=active.values("user_id")).order_by("pk")
        list(users.select_for_update(no_key=True).values_list("pk"))
        locked = active.select_for_update(of=("self",)).order_by("user_id", "pk")
        sessions = list(locked.values_list("user_id", "pk"))
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
