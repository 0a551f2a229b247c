"""System checks of `tokens`: what makes signing, verifying or hashing impossible or weak."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import get_hashers
from django.core.checks import CheckMessage, Error, Tags, register
from django.utils import timezone

from apps.accounts.hashers import NormalisedArgon2Hasher
from apps.accounts.services.keys import KeyRing

NO_MAIL = "django.core.mail.backends.dummy.EmailBackend"
BLACKLIST = "rest_framework_simplejwt.token_blacklist"


@register(Tags.security)
def tokens_check(**_: Any) -> list[CheckMessage]:
    """Check the ring of keys, the times, how passwords are hashed, and that mails go out where sign-ins need them."""
    return [*_keys(), *_times(), *_hashers(), *_blacklist(), *_mails()]


def _keys() -> list[CheckMessage]:
    try:
        ring = KeyRing(settings.TOKENS_KEYS)
    except (TypeError, ValueError) as error:
        return [Error(f"The ring of signing keys cannot be used: {error}.", hint="Set JWT_KEYS.", id="tokens.E001")]
    if not any(entry.sign_from <= timezone.now() for entry in ring.keys):
        hint = "Give one key of JWT_KEYS a sign_from that has passed."
        return [Error("No key may sign yet, so nobody can sign in.", hint=hint, id="tokens.E002")]
    return []


def _times() -> list[CheckMessage]:
    if settings.TOKENS_ACCESS_SECONDS < settings.TOKENS_REFRESH_SECONDS:
        return []
    hint = "Lower ACCESS_TOKEN_MINUTES or raise REFRESH_TOKEN_DAYS."
    return [Error("Access tokens live as long as the sign-in they belong to.", hint=hint, id="tokens.E003")]


def _hashers() -> list[CheckMessage]:
    if isinstance(get_hashers()[0], NormalisedArgon2Hasher):
        return []
    hint = "Begin PASSWORD_HASHERS with apps.accounts.hashers.NormalisedArgon2Hasher."
    return [
        Error("New passwords are not normalised, or not hashed with bounded Argon2id.", hint=hint, id="tokens.E004")
    ]


def _blacklist() -> list[CheckMessage]:
    if BLACKLIST not in settings.INSTALLED_APPS:
        return []
    hint = f"Take {BLACKLIST} out of INSTALLED_APPS: the session table says what is valid."
    return [Error("Two tables would say which refresh tokens are valid.", hint=hint, id="tokens.E005")]


def _mails() -> list[CheckMessage]:
    if not settings.REQUIRE_VERIFIED_EMAIL or settings.EMAIL_BACKEND != NO_MAIL:
        return []
    hint = "Give EMAIL_URL a mail server, or leave REQUIRE_VERIFIED_EMAIL out."
    return [Error("Addresses have to be verified by mail, and no mail is sent.", hint=hint, id="tokens.E006")]
