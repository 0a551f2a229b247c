"""The ring of signing keys: one key signs, all of them verify."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of the ring. It verifies as soon as it is listed and signs from `sign_from` on."""

    kid: str
    secret: bytes
    sign_from: datetime


class KeyRing:
    """The keys of TOKENS_KEYS, a list of `{kid, key, sign_from}`, as ``settings.kinds.key_ring`` has checked it."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self.entries = entries
        keys = [Key(kid=one["kid"], secret=one["key"].encode(), sign_from=one["sign_from"]) for one in entries]
        self._by_kid = {key.kid: key for key in keys}
        self.keys = sorted(keys, key=lambda key: key.sign_from, reverse=True)  # newest first

    def signing(self, *, at: datetime) -> Key:
        """Return the key that signs at this time: the one whose `sign_from` has passed most recently.

        It depends only on the ring and the time, so a token can be signed again, byte for byte.
        """
        for key in self.keys:
            if key.sign_from <= at:
                return key
        raise ImproperlyConfigured("No key of JWT_KEYS can sign yet: every sign_from is in the future.")

    def verifying(self, *, kid: object) -> Key | None:
        """Return the key with this kid, whether or not it signs; None if the ring has none."""
        return self._by_kid.get(kid) if isinstance(kid, str) else None


_ring: KeyRing | None = None


def key_ring() -> KeyRing:
    """Return the ring in use, built once per value of the setting."""
    global _ring
    ring = _ring
    if ring is None or ring.entries is not settings.TOKENS_KEYS:
        ring = _ring = KeyRing(settings.TOKENS_KEYS)
    return ring
