"""Hash passwords: normalised, with Argon2id and OWASP's parameters, and only so many at once per process."""

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher

from apps.practices.errors import Unavailable


class HashingBusy(Unavailable, type="hashing-busy", title="Too many password checks"):
    """503: every hashing slot is taken. Raised at once, because attackers could fill a queue."""

    explanation = (
        "The service is already checking as many passwords as it can. Try again after the time in Retry-After."
    )
    retry_after = 1


PASSWORD_LENGTH = 128  # ASVS 5.0, 6.2.9 requires 64 or more; a limit bounds the cost of a hash
_TYPED_LENGTH = 4 * PASSWORD_LENGTH  # a letter with its marks may be typed as several code points


def password_normalised(password: str) -> str:
    """Return a password in normal form KC, so that keyboards that encode é differently agree (NIST SP 800-63B-4, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def password_length(password: str) -> int:
    """Return the length of a password as it is hashed; if it is too long in any form, its length as typed."""
    return len(password) if len(password) > _TYPED_LENGTH else len(password_normalised(password))


_taken = 0
_lock = threading.Lock()


@contextmanager
def hashing_slot() -> Iterator[None]:
    """Hold one of this process's TOKENS_HASHES_AT_ONCE slots; raise HashingBusy if none is free."""
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


class NormalisedArgon2Hasher(Argon2PasswordHasher):
    """Argon2id, m = 19 MiB, t = 2, p = 1 (OWASP Password Storage Cheat Sheet), of the normalised password, behind `hashing_slot`.

    Django's own parameters take 100 MiB and eight threads per hash: a few parallel sign-ins would fill a machine. The algorithm
    has its own name, because Django's hashers hash the password as typed.
    """

    algorithm = "argon2nfkc"
    time_cost = 2
    memory_cost = 19 * 1024  # KiB
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        with hashing_slot():
            return super().encode(password_normalised(password), salt)

    def verify(self, password: str, encoded: str) -> bool:
        with hashing_slot():
            return super().verify(password_normalised(password), encoded)
