"""Users, their sessions, and the security events, attempt counts and mailed links that belong to them."""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from apps.accounts.managers import UserManager
from apps.practices.database.keys import uuid7
from apps.practices.validation.addresses import EMAIL_LENGTH, email_normalised

DEVICE_MAX_LENGTH = 200
DIGEST_BYTES = 32  # of SHA-256


class User(AbstractBaseUser, PermissionsMixin):
    """A person, identified by an e-mail address, which is stored in lower case and unique."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(
        "e-mail address",
        max_length=EMAIL_LENGTH,
        unique=True,
        error_messages={"unique": "An account with this e-mail address already exists."},
    )
    name = models.CharField(max_length=150, blank=True, default="")
    is_active = models.BooleanField(
        "active",
        default=True,
        help_text="Clear this instead of deleting the account. Its sessions end, and nobody can sign in to it.",
    )
    is_staff = models.BooleanField(
        "staff",
        default=False,
        help_text="Can open the admin. Groups and permissions decide what the user can do there.",
    )
    email_verified = models.BooleanField("e-mail verified", default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    session_check: Any = None  # of the session that authorised the request (selectors/sessions.py)
    last_login = None  # Session.created_at records it without a write to the user

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
        """Return the name that the admin greets with, or the address if there is no name."""
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.get_full_name()


class EndReason(models.TextChoices):
    """Why a session ended."""

    LOGOUT = "logout", "signed out"
    OWNER = "owner", "ended by the user from another session"
    REUSE = "reuse", "refresh token used twice"
    ADMIN = "admin", "ended by an administrator"
    ACCOUNT = "account", "account deactivated"
    PASSWORD = "password", "password changed"
    KEY = "key", "signing key compromised"


class Transport(models.TextChoices):
    """How a session's tokens travel. An admin session has no tokens: the browser's Django session refers to it."""

    BEARER = "bearer", "Authorization header"
    COOKIE = "cookie", "cookies"
    ADMIN = "admin", "admin"


class Session(models.Model):
    """One place where a user is signed in. A token is valid only while its session is active.

    The row holds ids and times, from which a token is signed again when needed, so a copy of this table signs nobody in.
    `signed_by` is the kid of the key that signed the current refresh token. An admin session has no tokens: its ids are never
    signed.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions")
    transport = models.CharField(
        max_length=6, choices=Transport, default=Transport.BEARER, db_default=Transport.BEARER.value
    )
    current_id = models.UUIDField(help_text="jti of the refresh token that is valid now")
    current_issued_at = models.DateTimeField()
    previous_id = models.UUIDField(null=True, blank=True)
    previous_issued_at = models.DateTimeField(null=True, blank=True)
    signed_by = models.CharField(max_length=64, blank=True, default="", db_default="")
    rotated_at = models.DateTimeField(null=True, blank=True)
    device = models.CharField(max_length=DEVICE_MAX_LENGTH, blank=True, default="", help_text="latest User-Agent")
    address = models.GenericIPAddressField(null=True, blank=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True, help_text="when the session ends, however often it is refreshed")
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_reason = models.CharField(max_length=20, blank=True, default="", choices=EndReason)

    class Meta:
        verbose_name = "session"
        indexes = (
            models.Index(
                fields=["ended_at"], name="accounts_session_ended", condition=models.Q(ended_at__isnull=False)
            ),
            models.Index(fields=["user", "-created_at", "-id"], name="accounts_session_user_created"),
        )
        constraints = (
            models.CheckConstraint(
                condition=models.Q(ended_at__isnull=True, ended_reason="")
                | (models.Q(ended_at__isnull=False) & ~models.Q(ended_reason="")),
                name="accounts_session_end_has_reason",
            ),
        )

    def __str__(self) -> str:
        return f"session {self.id}"


class SecurityEventKind(models.TextChoices):
    """An event of an account that its owner or an administrator may need to look up later."""

    REGISTERED = "registered", "account created"
    SIGN_IN = "sign-in", "signed in"
    SIGN_IN_FAILED = "sign-in-failed", "sign-in failed"
    SESSIONS_ENDED = "sessions-ended", "sessions ended"
    TOKEN_REUSED = "token-reused", "refresh token used twice"
    PASSWORD_CHANGED = "password-changed", "password changed"
    EMAIL_VERIFIED = "email-verified", "e-mail address verified"
    EMAIL_CHANGED = "email-changed", "e-mail address changed"
    UNLOCKED = "unlocked", "failed attempts cleared"
    KEY_COMPROMISED = "key-compromised", "signing key compromised"
    DELETED = "deleted", "account deleted"


class SecurityEvent(models.Model):
    """One entry in an account's history. Only `services.events` writes it; it is never changed, and retention deletes it.

    `address` is shortened or left out as LOG_ADDRESSES requires. `session_id` is no foreign key, so it outlives the session.
    `user` is NULL for a failed sign-in to an unknown address, and for the deletion of an account.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=20, choices=SecurityEventKind)
    created_at = models.DateTimeField()
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="security_events", db_index=False)
    session_id = models.UUIDField(null=True)
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
    """The failed attempts at one account's password, whether or not there is such an account.

    `key` is an HMAC of the purpose and the normalised address, so the table does not reveal addresses. Times are read from
    the database's clock.
    """

    key = models.BinaryField(max_length=DIGEST_BYTES, primary_key=True)
    failures = models.PositiveIntegerField()
    counted_since = models.DateTimeField()
    refused_until = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.failures} failures"


class LinkPurpose(models.TextChoices):
    """The purpose of a mailed link."""

    VERIFY_EMAIL = "verify-email", "verify the address"
    RESET_PASSWORD = "reset-password", "reset the password"
    CHANGE_EMAIL = "change-email", "change the address"


class AccountLink(models.Model):
    """A single-use link that was mailed. Only the mail holds its random token; this row holds the token's SHA-256.

    `email` is the address that the link was sent to, and therefore proves. `created_at` is when the mail was requested. The
    row is deleted when the link is used.
    """

    digest = models.BinaryField(max_length=DIGEST_BYTES, primary_key=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="links")
    purpose = models.CharField(max_length=20, choices=LinkPurpose)
    email = models.EmailField(max_length=EMAIL_LENGTH)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.purpose} for {self.user_id}"
