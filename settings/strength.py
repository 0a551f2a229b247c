"""Which secrets somebody could guess: those that nobody drew at random."""

import re
from itertools import pairwise

# Each has six letters or more: in 50 random ones of the URL-safe alphabet such a word turns up once in ten million times.
_PLACEHOLDERS = re.compile(
    "change(?:me|this|it)|replace|placeholder|your(?:own)?(?:secret|key|token|random)|secret|password|passphrase|insecure"
    "|random|string|example|sample|default|django|shipshape|production|development|staging|letmein|goeshere|inserthere"
    "|generate|characters|loremipsum|deadbeef",
    re.IGNORECASE,
)
_WORDS = re.compile(r"(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)(?:[\s_.,;!?-]+(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)){3,}\W*")


def is_weak(secret: str, *, length: int) -> bool:
    """Return whether a secret is shorter than ``length``, of too few different characters, or was probably not drawn at random.

    What gives it away: a word of those that examples are made of, in any spelling; a piece that comes again; runs such as
    ``abcdef`` and ``987654``; nothing but words. What Python's ``secrets`` and
    Django's ``get_random_secret_key`` make passes, hexadecimal digits too.
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
