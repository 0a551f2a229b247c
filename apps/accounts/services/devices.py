"""Devices that have signed in to an account before: their attempts are counted separately.

After OWASP's "Slow Down Online Guessing Attacks with Device Cookies". A browser that has signed in holds a cookie, signed for
the account's address. Someone who guesses from elsewhere can get unknown devices refused, but not the owner's own browser. A
stolen cookie gives as many guesses as any unknown device has, and signs nobody in.
"""

import secrets
from datetime import datetime

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from apps.practices.validation.addresses import email_normalised

_SALT = "apps.accounts.services.devices"
_VALUE_LENGTH = 200  # ours have 97 characters


def device_proof(*, email: str, now: datetime) -> str:
    """Return the cookie value for a browser that has just signed in to the account with this address."""
    name = f"{int(now.timestamp())}-{secrets.token_hex(10)}"
    return f"{name}.{_signed(name, email)}"


def device_known(proof: str | None, *, email: str, now: datetime) -> str:
    """Return the device name in a cookie that is valid for this address, or an empty string."""
    name, _, signature = (proof or "")[:_VALUE_LENGTH].partition(".")
    issued, _, _ = name.partition("-")
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    if not any(constant_time_compare(signature, _signed(name, email, secret=key)) for key in keys):
        return ""
    return name if now.timestamp() - int(issued) < settings.TOKENS_DEVICE_SECONDS else ""


def _signed(name: str, email: str, *, secret: str | None = None) -> str:
    return salted_hmac(_SALT, f"{name}\n{email_normalised(email)}", secret=secret, algorithm="sha256").hexdigest()
