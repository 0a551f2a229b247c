"""The account that a newcomer tries the service with. Its password is public, so it exists in dev and test only."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.hashers import make_password

from apps.accounts.models import User
from apps.accounts.services.users import user_save

DEMO_EMAIL = "demo@example.com"
DEMO_PASSWORD = "correct horse battery staple"  # noqa: S105 - published on the welcome page of dev


class DemoRefused(RuntimeError):
    """An account with a published password was asked for where strangers could use it."""


def demo_user_exists() -> bool:
    """Say whether the demo account is there."""
    return User.objects.filter(email=DEMO_EMAIL).exists()


def demo_user_create() -> User:
    """Make the demo account, or give the one that is there; raises DemoRefused outside of dev and test."""
    if settings.ENVIRONMENT_NAME not in ("dev", "test"):
        raise DemoRefused(f"There is no demo account in {settings.ENVIRONMENT_NAME}: its password is public.")
    user = User.objects.filter(email=DEMO_EMAIL).first()
    if user is None:
        user = User(email=DEMO_EMAIL, email_verified=True, name="Demo", password=make_password(DEMO_PASSWORD))
        user_save(user=user)
    return user
