"""The user, and the refresh family: one row for each place a user is signed in."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from apps.accounts.managers import UserManager, email_normalised
from apps.practices.database.keys import uuid7

DEVICE_MAX_LENGTH = 200


class User(AbstractBaseUser, PermissionsMixin):
    """A person, known by an e-mail address that is stored lower-case and is unique as such."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(
        "e-mail address",
        max_length=254,  # RFC 5321 4.5.3.1.3: a path has 256 octets, two of them the angle brackets.
        unique=True,
        error_messages={"unique": "A user with this e-mail address exists already."},
    )
    name = models.CharField(max_length=150, blank=True, default="")
    is_active = models.BooleanField(
        "active", default=True, help_text="Untick instead of deleting: every sign-in ends and none can be made."
    )
    is_staff = models.BooleanField(
        "staff", default=False, help_text="May open the admin. What they may do there is for permissions and groups."
    )
    email_verified = models.BooleanField("e-mail verified", default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    # Sign-ins are rows of RefreshFamily; one more write to the user at each of them would say less.
    last_login = None

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = "user"
        ordering = ("-created_at", "-id")
        indexes = (
            models.Index(fields=("created_at", "id"), name="accounts_user_created"),
            models.Index(fields=("email", "id"), name="accounts_user_email"),
        )
        constraints = (
            # With the unique column this is uniqueness without case, and plain `email = …` lookups use its index.
            models.CheckConstraint(condition=models.Q(email=Lower("email")), name="accounts_user_email_lower"),
        )

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        super().clean()
        self.email = email_normalised(self.email)

    def get_full_name(self) -> str:
        """The name the admin greets with; the address when none is given."""
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.get_full_name()


class FamilyEnd(models.TextChoices):
    """Why a sign-in ended."""

    LOGOUT = "logout", "signed out"
    REUSE = "reuse", "a used refresh token came again"
    ADMIN = "admin", "ended by an administrator"
    ACCOUNT = "account", "the account was deactivated"
    PASSWORD = "password", "the password was set anew"


class RefreshFamily(models.Model):
    """One sign-in: every refresh token that descends from it, of which one is current and one its predecessor.

    Holds ids and times only: a token is signed again from them when it is needed, so that a copy of this table lets
    nobody in. The API calls it a session.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="families")
    current_id = models.UUIDField(help_text="jti of the one refresh token that works")
    current_issued_at = models.DateTimeField()
    previous_id = models.UUIDField(null=True, blank=True)
    previous_issued_at = models.DateTimeField(null=True, blank=True)
    rotated_at = models.DateTimeField(null=True, blank=True)
    device = models.CharField(max_length=DEVICE_MAX_LENGTH, blank=True, default="", help_text="User-Agent at sign-in")
    address = models.GenericIPAddressField(null=True, blank=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_reason = models.CharField(max_length=20, blank=True, default="", choices=FamilyEnd)

    class Meta:
        verbose_name = "sign-in"
        verbose_name_plural = "sign-ins"
        indexes = (
            models.Index(fields=["ended_at"], name="accounts_family_ended", condition=models.Q(ended_at__isnull=False)),
        )
        constraints = (
            models.CheckConstraint(
                condition=models.Q(ended_at__isnull=True, ended_reason="")
                | (models.Q(ended_at__isnull=False) & ~models.Q(ended_reason="")),
                name="accounts_family_end_has_reason",
            ),
        )

    def __str__(self) -> str:
        return f"sign-in {self.id}"
