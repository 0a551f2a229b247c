"""System checks of `tokens`: settings that make tokens, hashes or the verification of addresses weak."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import get_hashers
from django.core.checks import CheckMessage, Error, Tags, register

from apps.accounts.hashers import NormalisedArgon2Hasher

NO_MAIL = "django.core.mail.backends.dummy.EmailBackend"


@register(Tags.security)
def tokens_check(**_: Any) -> list[CheckMessage]:
    """Check token lifetimes, password hashing, and that mails are sent if addresses must be verified."""
    return list(_errors())


def _errors() -> Iterator[Error]:
    if settings.TOKENS_ACCESS_SECONDS >= settings.TOKENS_REFRESH_SECONDS:
        hint = "Lower ACCESS_TOKEN_MINUTES or raise REFRESH_TOKEN_DAYS."
        yield Error("Access tokens live as long as refresh tokens, or longer.", hint=hint, id="tokens.E003")
    if not isinstance(get_hashers()[0], NormalisedArgon2Hasher):
        hint = "Put apps.accounts.hashers.NormalisedArgon2Hasher first in PASSWORD_HASHERS."
        yield Error("New passwords are not hashed by NormalisedArgon2Hasher.", hint=hint, id="tokens.E004")
    if settings.REQUIRE_VERIFIED_EMAIL and settings.EMAIL_BACKEND == NO_MAIL:
        hint = "Set EMAIL_URL to a mail server, or unset REQUIRE_VERIFIED_EMAIL."
        yield Error("REQUIRE_VERIFIED_EMAIL is set, but no mail can be sent.", hint=hint, id="tokens.E006")
