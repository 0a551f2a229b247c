"""The user manager: one way to write an e-mail address, and the two ways Django makes users."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.contrib.auth.base_user import BaseUserManager

if TYPE_CHECKING:
    from apps.accounts.models import User


def email_normalised(email: str) -> str:
    """Bring an address to the one form that is stored and compared: lower case, the domain in its ASCII form.

    RFC 5321 lets the part before the @ be case-sensitive; no mail service in use is, and two accounts that differ
    by case only are an impersonation waiting to happen. An international domain becomes its IDNA A-label, so that
    two spellings of one domain are one address. Text that is no address comes back lower-cased for the validators
    to refuse.
    """
    local, at, domain = email.strip().rpartition("@")
    with suppress(UnicodeError):  # not a domain name: left as it is, EmailValidator says so to whoever sent it
        domain = domain.encode("idna").decode("ascii")
    return f"{local}{at}{domain}".lower()


class UserManager(BaseUserManager["User"]):
    """Creates users for Django's own commands; the API goes through `services.users`, which ends here too."""

    use_in_migrations = False

    @classmethod
    def normalize_email(cls, email: str | None) -> str:
        return email_normalised(email or "")

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email=email_normalised(username or ""))

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Store a user; without a password the account exists but nobody can sign in to it."""
        if not email:
            raise ValueError("A user needs an e-mail address.")
        user = self.model(email=email_normalised(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Store an administrator: what `manage.py createsuperuser` calls."""
        return self.create_user(
            email, password, **{**fields, "is_staff": True, "is_superuser": True, "email_verified": True}
        )
