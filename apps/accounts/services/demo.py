"""The demo account. Its password is public, so it exists only in dev and test."""

from django.conf import settings
from django.contrib.auth.hashers import make_password

from apps.accounts.models import User
from apps.accounts.services.users import user_save

DEMO_EMAIL = "demo@example.com"
DEMO_PASSWORD = "correct horse battery staple"  # noqa: S105 - published on the welcome page of dev


class DemoRefused(RuntimeError):
    """The demo account was requested outside dev and test."""


def demo_user_exists() -> bool:
    return User.objects.filter(email=DEMO_EMAIL).exists()


def demo_user_create() -> User:
    """Return the demo account, created if it does not exist; raise DemoRefused outside dev and test."""
    if settings.ENVIRONMENT_NAME not in ("dev", "test"):
        raise DemoRefused(
            f"The demo account is for dev and test only, because its password is public; this is {settings.ENVIRONMENT_NAME}."
        )
    user = User.objects.filter(email=DEMO_EMAIL).first()
    if user is None:
        user = User(email=DEMO_EMAIL, email_verified=True, name="Demo", password=make_password(DEMO_PASSWORD))
        user_save(user=user)
    return user
