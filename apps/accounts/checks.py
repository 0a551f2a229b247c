"""System checks of `tokens`: settings that make signing, verifying or hashing impossible or weak."""

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
    """Check the ring of keys, token lifetimes, password hashing, and that mails are sent if addresses must be verified."""
    return [*_keys(), *_times(), *_hashers(), *_blacklist(), *_mails()]


def _keys() -> list[CheckMessage]:
    try:
        ring = KeyRing(settings.TOKENS_KEYS)
    except (TypeError, ValueError) as error:
        return [Error(f"The ring of signing keys is invalid: {error}.", hint="Correct JWT_KEYS.", id="tokens.E001")]
    if not any(entry.sign_from <= timezone.now() for entry in ring.keys):
        hint = "Set the sign_from of one key in JWT_KEYS to a time in the past."
        return [Error("No key can sign yet, so nobody can sign in.", hint=hint, id="tokens.E002")]
    return []


def _times() -> list[CheckMessage]:
    if settings.TOKENS_ACCESS_SECONDS < settings.TOKENS_REFRESH_SECONDS:
        return []
    hint = "Lower ACCESS_TOKEN_MINUTES or raise REFRESH_TOKEN_DAYS."
    return [Error("Access tokens live as long as refresh tokens, or longer.", hint=hint, id="tokens.E003")]


def _hashers() -> list[CheckMessage]:
    if isinstance(get_hashers()[0], NormalisedArgon2Hasher):
        return []
    hint = "Put apps.accounts.hashers.NormalisedArgon2Hasher first in PASSWORD_HASHERS."
    return [Error("New passwords are not hashed by NormalisedArgon2Hasher.", hint=hint, id="tokens.E004")]


def _blacklist() -> list[CheckMessage]:
    if BLACKLIST not in settings.INSTALLED_APPS:
        return []
    hint = f"Remove {BLACKLIST} from INSTALLED_APPS. The session table already records which refresh tokens are valid."
    return [Error("SimpleJWT's blacklist app is installed, but nothing here reads it.", hint=hint, id="tokens.E005")]


def _mails() -> list[CheckMessage]:
    if not settings.REQUIRE_VERIFIED_EMAIL or settings.EMAIL_BACKEND != NO_MAIL:
        return []
    hint = "Set EMAIL_URL to a mail server, or unset REQUIRE_VERIFIED_EMAIL."
    return [Error("REQUIRE_VERIFIED_EMAIL is set, but no mail can be sent.", hint=hint, id="tokens.E006")]
