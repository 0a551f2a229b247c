"""Mailed links: random tokens that work once, for an hour. Only their hashes are stored.

Code that uses or deletes links, or ends sessions, locks the user's row first.
"""

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from apps.accounts.models import AccountLink, LinkPurpose
from apps.accounts.services.tokens import Unauthorized

TOKEN_BYTES = 32  # too many to guess, so attempts are not counted


class LinkRefused(Unauthorized, type="link-refused", title="Link refused"):
    explanation = (
        "This link is not valid, or no longer valid. A mailed link works once, within an hour, until a newer one is sent or "
        "the account changes. Request a new one."
    )


def link_create(*, user_id: UUID, purpose: LinkPurpose, email: str, asked_at: datetime, now: datetime) -> str:
    """Create a link for the owner of ``email`` and return its token. Links requested earlier for this purpose stop working.

    If a mail has to be sent twice because nobody knows whether it arrived, both of its links work: they went to the same
    address, a mail program may show either, and using one deletes the other.
    """
    AccountLink.objects.filter(user_id=user_id, purpose=purpose, created_at__lt=asked_at).delete()
    token = secrets.token_urlsafe(TOKEN_BYTES)
    AccountLink.objects.create(
        digest=_digest(token),
        user_id=user_id,
        purpose=purpose,
        email=email,
        created_at=asked_at,
        expires_at=now + timedelta(seconds=settings.ACCOUNT_LINK_SECONDS),
    )
    return token


def link_find(*, token: str, purposes: Collection[LinkPurpose], now: datetime) -> AccountLink:
    """Return the link with this token, without using it up; raise LinkRefused."""
    link = AccountLink.objects.filter(digest=_digest(token), purpose__in=purposes, expires_at__gt=now).first()
    if link is None:
        raise LinkRefused()
    return link


def link_use(link: AccountLink) -> None:
    """Use a link up in the caller's transaction, which has locked the user; raise LinkRefused if it was just used."""
    deleted, _ = AccountLink.objects.filter(pk=link.pk).delete()
    if not deleted:
        raise LinkRefused()


def links_delete(*, user_id: UUID, purposes: Collection[LinkPurpose] = tuple(LinkPurpose)) -> None:
    """Delete the links that a user was mailed, in the caller's transaction."""
    AccountLink.objects.filter(user_id=user_id, purpose__in=purposes).delete()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
