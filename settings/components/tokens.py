"""tokens (140): token lifetimes, signing keys, password hashing, and sessions."""

import datetime
import hashlib
import hmac
from typing import Any

from settings.env import ENVIRONMENT

# dev and test sign with a key derived from SECRET_KEY; staging and prod do not start without JWT_KEYS.
_DERIVED = hmac.new((ENVIRONMENT["SECRET_KEY"] or "").encode(), b"shipshape tokens", hashlib.sha256).hexdigest()

TOKENS_KEYS: list[dict[str, Any]] = ENVIRONMENT["JWT_KEYS"] or [
    {"kid": "derived", "key": _DERIVED, "sign_from": datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)}
]
TOKENS_ISSUER: str = ENVIRONMENT["PUBLIC_URL"]
TOKENS_AUDIENCE = f"{ENVIRONMENT['PUBLIC_URL']}/api/"
TOKENS_ACCESS_SECONDS: int = (ENVIRONMENT["ACCESS_TOKEN_MINUTES"] or 0) * 60
TOKENS_REFRESH_SECONDS: int = (ENVIRONMENT["REFRESH_TOKEN_DAYS"] or 0) * 24 * 60 * 60
TOKENS_SESSION_SECONDS: int = (ENVIRONMENT["SESSION_DAYS"] or 0) * 24 * 60 * 60
TOKENS_GRACE_SECONDS: float = ENVIRONMENT["REFRESH_GRACE_SECONDS"]
TOKENS_CHECK_SECONDS: float = ENVIRONMENT["SESSION_CHECK_SECONDS"]
TOKENS_HASHES_AT_ONCE = 4  # per process; each takes 19 MiB and a core for about 45 ms. Further requests get 503

# Failed attempts at one account: after this many in the window, the next ones are refused for a time that doubles.
TOKENS_ATTEMPTS = 10
TOKENS_ATTEMPTS_WINDOW_SECONDS = 15 * 60
TOKENS_REFUSAL_LONGEST_SECONDS = 15 * 60
TOKENS_DEVICE_SECONDS = 180 * 24 * 60 * 60  # how long a browser that has signed in has its own count

REQUIRE_VERIFIED_EMAIL: bool = ENVIRONMENT["REQUIRE_VERIFIED_EMAIL"]
ACCOUNT_URL: str = ENVIRONMENT["ACCOUNT_URL"] or f"{ENVIRONMENT['PUBLIC_URL']}/account"
ACCOUNT_LINK_SECONDS = 60 * 60  # how long a mailed link works

# Days; see apps/accounts/retention.py
RETENTION_SESSIONS: int = ENVIRONMENT["RETENTION_SESSIONS"]
RETENTION_EVENTS: int = ENVIRONMENT["RETENTION_EVENTS"]

# The life of an admin session and of its cookie (NIST SP 800-63B, 4.2.3: at most 12 hours).
SESSION_COOKIE_AGE = 12 * 60 * 60

# The claim that prevents the use of a refresh token as an access token.
SIMPLE_JWT = {"TOKEN_TYPE_CLAIM": "typ"}

PASSWORD_HASHERS = ["apps.accounts.hashers.NormalisedArgon2Hasher"]

# OWASP ASVS 5.0, 6.2: a minimum length instead of composition rules, and no common passwords.
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "apps.accounts.validators.LengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "apps.accounts.validators.SimilarityValidator", "OPTIONS": {"user_attributes": ("email", "name")}},
    {"NAME": "apps.accounts.validators.CommonPasswordValidator"},
    {"NAME": "apps.accounts.validators.NumericPasswordValidator"},
]
