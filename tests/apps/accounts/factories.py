"""Users and sessions for the tests of all apps."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from apps.accounts.models import LinkPurpose, Session, Transport, User
from apps.accounts.page_sessions import SESSION_ID
from apps.accounts.services.events import Origin
from apps.accounts.services.links import link_create
from apps.accounts.services.sessions import TokenPair, session_create, session_start
from tests import secrets

PASSWORD, NEW_PASSWORD = secrets.PASSWORD, secrets.NEW_PASSWORD
_numbers = itertools.count(1)
_hashes: dict[str, str] = {}


def user_create(
    *, email: str | None = None, password: str = PASSWORD, permissions: tuple[str, ...] = (), **fields: Any
) -> User:
    """Store a user with permissions such as `"accounts.view_user"`. Each password is hashed once per run."""
    user = User(email=email or f"user{next(_numbers)}@example.com", **fields)
    if password not in _hashes:
        user.set_password(password)
        _hashes[password] = user.password
    user.password = _hashes[password]
    user.save()
    for name in permissions:
        label, codename = name.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=label, codename=codename))
    return user


def sign_in(user: User, *, device: str = "test", **options: Any) -> TokenPair:
    """Start a session of the user and return its tokens."""
    origin = Origin(device=device, address="192.0.2.1")
    return session_start(user=user, origin=origin, now=options.pop("now", timezone.now()), **options)


def admin_sign_in(client: Client, user: User) -> Session:
    """Sign the browser in to the admin, as its login page does after checking the password."""
    client.force_login(user)
    origin, now = Origin(device="admin browser", address="192.0.2.1"), timezone.now()
    session = session_create(user=user, origin=origin, now=now, transport=Transport.ADMIN)
    stored = client.session
    stored[SESSION_ID] = str(session.pk)
    stored.save()
    return session


def bearer(user: User) -> dict[str, str]:
    """Return the header of a new session for Django's test client: `client.get(url, **bearer(user))`."""
    return {"HTTP_AUTHORIZATION": f"Bearer {sign_in(user).access}"}


def link(user: User, purpose: LinkPurpose, *, email: str | None = None, now: datetime | None = None) -> str:
    """Return the token of a new link for the user's address, or for ``email``."""
    now = now or timezone.now()
    return link_create(user_id=user.pk, purpose=purpose, email=email or user.email, asked_at=now, now=now)
