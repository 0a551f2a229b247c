"""The user manager, for Django's own commands."""

from typing import TYPE_CHECKING, Any

from django.contrib.auth.base_user import BaseUserManager
from django.core.exceptions import ValidationError

from apps.practices.validation.addresses import email_clean, email_normalised
from apps.practices.validation.text import UncleanText

if TYPE_CHECKING:
    from apps.accounts.models import User


class UserManager(BaseUserManager["User"]):
    """Creates users for Django's own commands. The API uses `services.users`."""

    use_in_migrations = False

    @classmethod
    def normalize_email(cls, email: str | None) -> str:
        return email_normalised(email or "")

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=email_normalised(username or ""))

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Store a user; without a password nobody can sign in to the account.

        Raise ValidationError, which Django's commands print, for an address that the API would refuse.
        """
        if not email:
            raise ValueError("Enter an e-mail address.")
        try:
            user = self.model(email=email_clean(email), **fields)
        except UncleanText as error:
            raise ValidationError(error.detail, code=error.code) from error
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(
            email, password, **{**fields, "is_staff": True, "is_superuser": True, "email_verified": True}
        )
