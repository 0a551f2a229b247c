"""How passwords are hashed: Argon2id with OWASP's parameters, and never more of it at once than the process can bear."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher

from apps.practices.errors import Unavailable


class HashingBusy(Unavailable):
    """503: every slot for hashing is taken. Said at once, since a queue of hashes is what an attacker wants to build."""

    status = 503
    type = "hashing-busy"
    title = "Too many passwords at once"
    explanation = "The service is checking as many passwords as it can. Try again after the time in Retry-After."
    retry_after = 1


_taken = 0
_lock = threading.Lock()


@contextmanager
def hashing_slot() -> Iterator[None]:
    """Hold one of TOKENS_HASHES_AT_ONCE slots of this process; raises HashingBusy when there is none."""
    global _taken
    with _lock:
        if _taken >= settings.TOKENS_HASHES_AT_ONCE:
            raise HashingBusy()
        _taken += 1
    try:
        yield
    finally:
        with _lock:
            _taken -= 1


class BoundedArgon2Hasher(Argon2PasswordHasher):
    """Argon2id, m = 19 MiB, t = 2, p = 1 (OWASP Password Storage Cheat Sheet), behind `hashing_slot`.

    Django's own parameters take 100 MiB and eight threads a hash: a few sign-ins at once would be the whole machine.
    """

    time_cost = 2
    memory_cost = 19 * 1024  # KiB
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        with hashing_slot():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        with hashing_slot():
            return super().verify(password, encoded)
