"""Shared by the tests of tokens: a ring of keys, tokens with any header and claims, and requests with them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import jwt
from django.test import Client

KEY = "k3y-" + "0123456789abcdef" * 3
NEXT = "n3xt-" + "fedcba9876543210" * 3
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
HEADER = {"alg": "HS256", "typ": "JWT", "kid": "a"}
AGENT = "tests/1"


def ring(*entries: tuple[str, str, datetime]) -> list[dict[str, Any]]:
    """Return a value for TOKENS_KEYS."""
    return [{"kid": kid, "key": key, "sign_from": sign_from} for kid, key, sign_from in entries]


def part(value: Any) -> str:
    """Encode one part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forge(header: dict[str, Any], claims: Any, key: str = KEY, digest: Any = hashlib.sha256) -> str:
    """Return a token with any header and claims, signed as HMAC with `key`, without the checks of a library."""
    text = f"{part(header)}.{part(claims)}"
    signature = hmac.new(key.encode(), text.encode(), digest).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def claims_of(token: str) -> dict[str, Any]:
    """Return a token's claims, without verifying it."""
    return jwt.decode(token, options={"verify_signature": False})


def get_me(token: str) -> Any:
    """Request the account with an access token."""
    return Client(headers={"user-agent": AGENT, "authorization": f"Bearer {token}"}).get("/api/v1/me")


def refresh(token: str, *, agent: str = AGENT) -> Any:
    """Refresh a token from a device."""
    client = Client(headers={"user-agent": agent})
    return client.post("/api/v1/auth/refresh", {"refresh": token}, content_type="application/json")
