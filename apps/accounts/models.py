"""The user, the refresh family (one row for each place a user is signed in), and what is kept around the two."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from apps.accounts.managers import UserManager
from apps.practices.database.keys import uuid7
from apps.practices.validation.addresses import email_normalised

DEVICE_MAX_LENGTH = 200
DIGEST_BYTES = 32  # of SHA-256


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
    OWNER = "owner", "ended by its owner from another place"
    REUSE = "reuse", "a used refresh token came again"
    ADMIN = "admin", "ended by an administrator"
    ACCOUNT = "account", "the account was deactivated"
    PASSWORD = "password", "the password was set anew"
    KEY = "key", "its signing key was given up as compromised"


class Transport(models.TextChoices):
    """How the tokens of a sign-in travel; the admin has none, only its session."""

    BEARER = "bearer", "Authorization header"
    COOKIE = "cookie", "cookies"
    ADMIN = "admin", "admin"


class RefreshFamily(models.Model):
    """One sign-in: every refresh token that descends from it, of which one is current and one its predecessor.

    Holds ids and times only: a token is signed again from them when it is needed, so that a copy of this table lets
    nobody in. `signed_by` is the kid of the key that signs the current one. A sign-in to the admin has no tokens: its ids
    are never signed. The API calls a row a session.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="families")
    transport = models.CharField(
        max_length=6, choices=Transport, default=Transport.BEARER, db_default=Transport.BEARER.value
    )
    current_id = models.UUIDField(help_text="jti of the one refresh token that works")
    current_issued_at = models.DateTimeField()
    previous_id = models.UUIDField(null=True, blank=True)
    previous_issued_at = models.DateTimeField(null=True, blank=True)
    signed_by = models.CharField(max_length=64, blank=True, default="", db_default="")
    rotated_at = models.DateTimeField(null=True, blank=True)
    device = models.CharField(max_length=DEVICE_MAX_LENGTH, blank=True, default="", help_text="User-Agent at sign-in")
    address = models.GenericIPAddressField(null=True, blank=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True, help_text="when it ends however often it is refreshed")
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_reason = models.CharField(max_length=20, blank=True, default="", choices=FamilyEnd)

    class Meta:
        verbose_name = "sign-in"
        verbose_name_plural = "sign-ins"
        indexes = (
            models.Index(fields=["ended_at"], name="accounts_family_ended", condition=models.Q(ended_at__isnull=False)),
            models.Index(fields=["user", "-created_at", "-id"], name="accounts_family_user_created"),
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


class SecurityEventKind(models.TextChoices):
    """What can happen to an account that its owner, or who looks after it, wants to know of later."""

    REGISTERED = "registered", "account created"
    SIGN_IN = "sign-in", "signed in"
    SIGN_IN_FAILED = "sign-in-failed", "sign-in failed"
    SIGN_INS_ENDED = "sign-ins-ended", "sign-ins ended"
    TOKEN_REUSED = "token-reused", "a used refresh token came again"
    PASSWORD_CHANGED = "password-changed", "password changed"
    EMAIL_VERIFIED = "email-verified", "e-mail address verified"
    EMAIL_CHANGED = "email-changed", "e-mail address changed"
    UNLOCKED = "unlocked", "refusals after failed sign-ins lifted"
    KEYS_ROTATED = "keys-rotated", "signing keys rotated"
    DELETED = "deleted", "account deleted"


class SecurityEvent(models.Model):
    """One line of an account's history. Written by `services.events` alone, never changed, removed by retention.

    `address` is as LOG_ADDRESSES lets it appear. `family_id` outlives the sign-in it names. `user` is NULL where nobody
    is known (a sign-in to no account) and where nobody is left.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=20, choices=SecurityEventKind)
    created_at = models.DateTimeField()
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="security_events", db_index=False)
    family_id = models.UUIDField(null=True)
    address = models.CharField(max_length=45, blank=True, default="")
    device = models.CharField(max_length=DEVICE_MAX_LENGTH, blank=True, default="")
    request_id = models.CharField(max_length=64, blank=True, default="")
    detail = models.JSONField(default=dict)

    class Meta:
        indexes = (
            models.Index(fields=["user", "-created_at", "-id"], name="accounts_event_user"),
            models.Index(fields=["-created_at", "-id"], name="accounts_event_created"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.created_at:%Y-%m-%d %H:%M}"


class AttemptCount(models.Model):
    """How often one account's password has been tried in vain, whether there is such an account or not.

    `key` is an HMAC of purpose and normalised address: the table does not tell whose address it is. Times are the
    database's.
    """

    key = models.BinaryField(max_length=DIGEST_BYTES, primary_key=True)
    failures = models.PositiveIntegerField()
    counted_since = models.DateTimeField()
    refused_until = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.failures} failures"


class LinkPurpose(models.TextChoices):
    """What following a mailed link does."""

    VERIFY_EMAIL = "verify-email", "verify the address"
    RESET_PASSWORD = "reset-password", "set a new password"
    CHANGE_EMAIL = "change-email", "take a new address"


class AccountLink(models.Model):
    """A single-use link that was mailed. Its token is random and known to the mail alone; kept is the SHA-256 of it.

    `email` is the address that the link was sent to, and so the one that it proves; `created_at` is when its mail was asked
    for. A row is deleted when it is used.
    """

    digest = models.BinaryField(max_length=DIGEST_BYTES, primary_key=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="links")
    purpose = models.CharField(max_length=20, choices=LinkPurpose)
    email = models.EmailField(max_length=254)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.purpose} for {self.user_id}"
