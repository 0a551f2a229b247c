"""Weak secrets: those that were probably not generated at random."""

import re
from itertools import pairwise

# Each has six letters or more. The chance of such a word among 50 random URL-safe characters is one in ten million.
_PLACEHOLDERS = re.compile(
    "change(?:me|this|it)|replace|placeholder|your(?:own)?(?:secret|key|token|random)|secret|password|passphrase|insecure"
    "|random|string|example|sample|default|django|shipshape|production|development|staging|letmein|goeshere|inserthere"
    "|generate|characters|loremipsum|deadbeef",
    re.IGNORECASE,
)
_WORDS = re.compile(r"(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)(?:[\s_.,;!?-]+(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)){3,}\W*")


def is_weak(secret: str, *, length: int) -> bool:
    """Return whether a secret is shorter than ``length`` or was probably not generated at random.

    Signs of that are few different characters, words from examples in any spelling, repeated parts, runs such as ``abcdef``
    and ``987654``, and plain words. The output of Python's ``secrets`` and of Django's ``get_random_secret_key`` passes.
    """
    pieces = [secret[start : start + 3] for start in range(len(secret) - 2)]
    steps = [ord(after) - ord(before) for before, after in pairwise(secret)]
    runs = sum(1 for one, two in pairwise(steps) if one == two and abs(one) <= 1)
    return (
        len(secret) < length
        or len(set(secret)) < 8
        or _PLACEHOLDERS.search(re.sub(r"[\W_]", "", secret)) is not None
        or len(set(pieces)) < 0.7 * len(pieces)
        or runs > 0.3 * len(steps)
        or _WORDS.fullmatch(secret) is not None
    )
