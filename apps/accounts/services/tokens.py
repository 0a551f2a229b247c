"""The access and refresh tokens of a session: their claims, and what is checked before a claim is trusted."""

import base64
import json
import time
from datetime import datetime
from functools import lru_cache
from typing import Any, Self, cast
from uuid import UUID, uuid4

import jwt
from django.conf import settings
from django.core.signals import setting_changed
from rest_framework_simplejwt import tokens
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import (
    ExpiredTokenError,
    TokenBackendError,
    TokenBackendExpiredToken,
    TokenError,
)

from apps.accounts.services.keys import Key, KeyRing, key_ring
from apps.practices.errors import Problem

ALGORITHM = "HS256"
TOKEN_BYTES = 2048  # ours have about 400; a larger one is refused unread
LEEWAY_SECONDS = 10  # between two instances' clocks
HEADER = frozenset({"alg", "kid", "typ"})  # any other (jku, jwk, x5u, crit …) would let the token choose its own key
CLAIMS = ("exp", "iat", "iss", "aud", "jti", "sid", "typ")


class Unauthorized(Problem, status=401):
    """401, with the challenge that RFC 9110, 11.6.1, requires."""

    challenge = 'Bearer realm="api"'

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": self.challenge})


class TokenRefused(Unauthorized, type="token-refused", title="Token refused"):
    explanation = (
        "The token is invalid or has expired, or its session has ended. Use the refresh token to get a new access token. If "
        "the refresh token was refused, sign in again."
    )
    challenge = 'Bearer realm="api", error="invalid_token"'  # RFC 6750, 3


class RingBackend(TokenBackend):
    """Signs with a given key and verifies with the key that the header names, HS256 only."""

    def sign(self, payload: dict[str, Any], *, key: Key) -> str:
        """Return the token with these claims, the issuer and the audience."""
        claims = {**payload, "iss": settings.TOKENS_ISSUER, "aud": settings.TOKENS_AUDIENCE}
        return jwt.encode(claims, key.secret, algorithm=ALGORITHM, headers={"kid": key.kid})

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        """Return the claims; raise TokenBackendError. ``verify`` is ignored: the signature is always checked."""
        try:
            return self._claims(token)
        except jwt.ExpiredSignatureError as error:
            raise TokenBackendExpiredToken("Token is expired") from error
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            raise TokenBackendError("Token is invalid") from error

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > TOKEN_BYTES:
            raise jwt.InvalidTokenError("too large")
        header = _header(token.partition(".")[0])
        key = key_ring().verifying(kid=header.get("kid"))
        if key is None or not header.keys() <= HEADER:
            raise jwt.InvalidTokenError("foreign key or header")
        return jwt.decode(
            token,
            key.secret,
            algorithms=[ALGORITHM],
            audience=settings.TOKENS_AUDIENCE,
            issuer=settings.TOKENS_ISSUER,
            leeway=LEEWAY_SECONDS,
            options={"require": list(CLAIMS)},
        )


@lru_cache(maxsize=32)
def _header(segment: str) -> dict[str, Any]:
    """Read a header to find the key; PyJWT reads it again and verifies it with that key.

    All tokens of one key have the same header, and reading it is a third of a verification, so it is cached.
    """
    header = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    if not isinstance(header, dict):
        raise jwt.InvalidTokenError("no header")
    return header


def token_is_ours(text: str) -> bool:
    """Return whether a text names this service as its issuer. Verifies nothing: this only recognises our cookies."""
    parts = text.split(".")
    if len(text) > TOKEN_BYTES or len(parts) != 3:
        return False
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(claims, dict) and claims.get("iss") == settings.TOKENS_ISSUER


_backend = RingBackend(ALGORITHM, leeway=LEEWAY_SECONDS)


class SessionToken(tokens.Token):
    """A token of a session: `sid` identifies the session, `jti` the token, and `typ` its kind."""

    session_id: UUID
    id: UUID
    key: Key  # to sign with; a token that was read has none

    @property
    def token_backend(self) -> TokenBackend:
        return _backend

    def __str__(self) -> str:
        return _backend.sign(self.payload, key=self.key)

    @classmethod
    def mint(cls, *, session_id: UUID, token_id: UUID, issued_at: datetime, expires_at: datetime, key: Key) -> Self:
        """Return the token with these values; the same values give the same bytes."""
        token = cls()
        token.session_id, token.id, token.key = session_id, token_id, key
        token.payload = {
            "typ": cls.token_type,
            "sid": str(session_id),
            "jti": str(token_id),
            "iat": int(issued_at.timestamp()),
            "exp": int(expires_at.timestamp()),
        }
        return token

    @classmethod
    def read(cls, text: str) -> Self:
        """Verify an encoded token; raise TokenRefused."""
        try:
            return cls(cast("Any", text))  # SimpleJWT annotates the encoded text as a Token
        except ExpiredTokenError as error:
            raise TokenRefused(f"The {cls.token_type} token has expired.") from error
        except TokenError as error:
            raise TokenRefused from error

    def verify(self) -> None:
        """Check the kind of token, its two ids, and that `exp` is a time."""
        try:
            super().verify()
            self.session_id, self.id = UUID(self.payload["sid"]), UUID(self.payload["jti"])
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise TokenError("Token has unreadable claims") from error


class AccessToken(SessionToken, tokens.AccessToken):
    """Gives access to the API for TOKENS_ACCESS_SECONDS, while its session is active."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Verify an encoded token, once until it expires; raise TokenRefused."""
        token = cast("Self", _verified(text, key_ring()))
        return token if time.time() < token.payload["exp"] else super().read(text)


@lru_cache(maxsize=2048)
def _verified(text: str, ring: KeyRing) -> SessionToken:
    """Verify an access token by the keys of the ring.

    Most requests bring a token that an earlier one brought, and verifying it takes 50 µs of processor time. Only its signature
    and claims are remembered: whether its session is active is checked as for any other (sessions.py).
    """
    return super(AccessToken, AccessToken).read(text)


def _setting_changed(*, setting: str, **_: Any) -> None:
    if setting.startswith("TOKENS_"):
        _verified.cache_clear()


setting_changed.connect(_setting_changed)


class RefreshToken(SessionToken, tokens.RefreshToken):  # type: ignore[misc]  # SimpleJWT's own two bases disagree on for_user
    """Works once, to get a new pair."""


def token_id_new() -> UUID:
    """Return a new token id, all random, so that knowing one does not help to guess the next."""
    return uuid4()
