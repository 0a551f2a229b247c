"""The ring of signing keys: one signs, all verify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

KEY_BYTES = 32  # RFC 7518, 3.2: a key of HS256 is at least as long as its hash.


@dataclass(frozen=True, kw_only=True)
class Key:
    """One entry of the ring. It verifies from the moment it is there and signs from `sign_from` on."""

    kid: str
    secret: bytes
    sign_from: datetime


def _key(entry: Mapping[str, Any]) -> Key:
    """Build a key from an entry of TOKENS_KEYS; raises ValueError, in words that do not repeat the key."""
    secret = entry["key"].encode()
    if len(secret) < KEY_BYTES:
        raise ValueError(f"the key of {entry['kid']} has fewer than {KEY_BYTES} bytes")
    return Key(kid=entry["kid"], secret=secret, sign_from=entry["sign_from"])


class KeyRing:
    """The keys of TOKENS_KEYS: a list of `{kid, key, sign_from}`, text, text and an aware time."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self.entries = entries
        keys = [_key(entry) for entry in entries]
        self._by_kid = {key.kid: key for key in keys}
        if len(self._by_kid) != len(keys):
            raise ValueError("two keys have the same kid")
        self.keys = sorted(keys, key=lambda key: key.sign_from, reverse=True)  # the youngest first

    def signing(self, *, at: datetime) -> Key:
        """Give the key that signs at that moment: the one whose `sign_from` passed last.

        The answer depends on the ring and the moment alone, so a token can be signed again, byte for byte.
        """
        for key in self.keys:
            if key.sign_from <= at:
                return key
        raise ImproperlyConfigured("No key of JWT_KEYS may sign yet: every sign_from lies ahead.")

    def verifying(self, *, kid: object) -> Key | None:
        """Give the key of that name, whether it signs or not; None for a foreign one."""
        return self._by_kid.get(kid) if isinstance(kid, str) else None


_ring: KeyRing | None = None


def key_ring() -> KeyRing:
    """Give the ring in force; it is built once for each value of the setting."""
    global _ring
    ring = _ring
    if ring is None or ring.entries is not settings.TOKENS_KEYS:
        ring = _ring = KeyRing(settings.TOKENS_KEYS)
    return ring
