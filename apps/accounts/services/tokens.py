"""The two tokens of a sign-in, on SimpleJWT's classes: what they claim, and what is refused before a claim is believed."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from functools import lru_cache
from typing import Any, Self, cast
from uuid import UUID, uuid4

import jwt
from django.conf import settings
from rest_framework_simplejwt import tokens
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import (
    ExpiredTokenError,
    TokenBackendError,
    TokenBackendExpiredToken,
    TokenError,
)

from apps.accounts.services.keys import Key, key_ring
from apps.practices.errors import Problem

ALGORITHM = "HS256"
TOKEN_BYTES = 2048  # ours have about 400; a larger one is not read at all
LEEWAY_SECONDS = 10  # between the clocks of two instances
HEADER = frozenset({"alg", "kid", "typ"})  # anything else (jku, jwk, x5u, crit …) asks us to trust the token's own word
CLAIMS = ("exp", "iat", "iss", "aud", "jti", "sid", "typ")


class TokenRefused(Problem):
    """401: the token is none of ours, expired, of the wrong kind, or its sign-in has ended."""

    status = 401
    type = "token-refused"
    title = "Token refused"
    explanation = (
        "The token is not valid, has expired, or the sign-in it belongs to has ended. Refresh the access token; when "
        "it was the refresh token that was refused, sign in again."
    )

    def __init__(self, detail: str | None = None) -> None:
        # RFC 6750, 3: why a bearer token did not do.
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="api", error="invalid_token"'})


class RingBackend(TokenBackend):
    """Signs with the key it is given and verifies with the key that the header names, HS256 only."""

    def sign(self, payload: dict[str, Any], *, key: Key) -> str:
        """Give the token with these claims and ours."""
        claims = {**payload, "iss": settings.TOKENS_ISSUER, "aud": settings.TOKENS_AUDIENCE}
        return jwt.encode(claims, key.secret, algorithm=ALGORITHM, headers={"kid": key.kid})

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        """Give the claims; raises TokenBackendError for whatever is wrong. There is no way to skip the signature."""
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
    """Read a header to learn which key to try; PyJWT reads and verifies it again with that key.

    All tokens of one key have the same header, so this is remembered: reading it is a third of a verification.
    """
    header = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    if not isinstance(header, dict):
        raise jwt.InvalidTokenError("no header")
    return header


def token_is_ours(text: str) -> bool:
    """Whether a text says to be a token of this service: not to be believed, but not somebody else's cookie either."""
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
    """A token of one sign-in: `sid` names its refresh session, `jti` the token, `typ` its use."""

    session_id: UUID
    id: UUID
    key: Key  # that signs it; a token that was read has none

    @property
    def token_backend(self) -> TokenBackend:
        return _backend

    def __str__(self) -> str:
        return _backend.sign(self.payload, key=self.key)

    @classmethod
    def mint(cls, *, session_id: UUID, token_id: UUID, issued_at: datetime, expires_at: datetime, key: Key) -> Self:
        """Make the token that these values describe; the same values give the same bytes."""
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
        """Verify a token that came from outside; raises TokenRefused."""
        try:
            return cls(cast("Any", text))  # SimpleJWT annotates the encoded text as a Token
        except ExpiredTokenError as error:
            raise TokenRefused(f"The {cls.token_type} token has expired.") from error
        except TokenError as error:
            raise TokenRefused from error

    def verify(self) -> None:
        """Check the claims that are ours: the kind of token and the two ids; `exp` once more, as a time."""
        try:
            super().verify()
            self.session_id, self.id = UUID(self.payload["sid"]), UUID(self.payload["jti"])
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise TokenError("Token has unreadable claims") from error


class AccessToken(SessionToken, tokens.AccessToken):
    """Opens the API for TOKENS_ACCESS_SECONDS, as long as its sign-in stands."""


class RefreshToken(SessionToken, tokens.RefreshToken):  # type: ignore[misc]  # SimpleJWT's own two bases disagree on for_user
    """Works once, for a new pair."""


def token_id_new() -> UUID:
    """Make a token's id: random throughout, since knowing one must not help to guess the next."""
    return uuid4()
