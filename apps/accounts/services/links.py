"""Mailed links: random tokens that work once, for an hour, of which only the hash is kept.

Whoever uses one holds the lock on the user's row by then, as everything does that ends links or sign-ins.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from apps.accounts.models import AccountLink, LinkPurpose
from apps.practices.errors import Problem

TOKEN_BYTES = 32  # nothing to guess, so tries are not counted by account


class LinkRefused(Problem):
    """401: a mailed link that is none of ours, too old, used, or overtaken by a later change."""

    status = 401
    type = "link-refused"
    title = "Link refused"
    explanation = (
        "A mailed link works once and for one hour, and a newer one, or a change of the account, ends it. This one does "
        "not work (any more). Ask for a new one."
    )

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": 'Bearer realm="api"'})


def link_mint(*, user_id: UUID, purpose: LinkPurpose, email: str, asked_at: datetime, now: datetime) -> str:
    """Make a link for the owner of ``email``, and give its token; those for the same purpose that were asked for earlier die.

    A mail that is sent twice, as nobody knows whether it arrived, leaves both of its links alive: they went to the same
    address, a mail program may show either, and the use of one ends the other.
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
    """Give the link that a token opens, without using it up; raises LinkRefused."""
    link = AccountLink.objects.filter(digest=_digest(token), purpose__in=purposes, expires_at__gt=now).first()
    if link is None:
        raise LinkRefused()
    return link


def link_use(link: AccountLink) -> None:
    """Use a link up, in the caller's transaction; raises LinkRefused to all but the first of several.

    The caller has locked the user's row. One DELETE decides, whoever came in between.
    """
    deleted, _ = AccountLink.objects.filter(pk=link.pk).delete()
    if not deleted:
        raise LinkRefused()


def links_end(*, user_id: UUID, purposes: Collection[LinkPurpose] = tuple(LinkPurpose)) -> None:
    """End the links that a user has been mailed, in the caller's transaction."""
    AccountLink.objects.filter(user_id=user_id, purpose__in=purposes).delete()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
