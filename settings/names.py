"""Unknown names in the environment: which of them are probably misspelt."""

from collections.abc import Collection
from difflib import get_close_matches

SIMILARITY = 0.9  # difflib's ratio: one wrong letter among ten, or two letters swapped


def near(name: str, known: Collection[str]) -> str | None:
    """Return the known name that ``name`` is probably a misspelling of, or None.

    A name with another word or a number at its end (``DATABASE_URL_X``, ``REDIS_URL2``) is not a misspelling.
    """
    if any(letter.isdigit() for letter in name):
        return None
    upper = name.upper()
    candidates = [
        one
        for one in known
        if abs(len(one) - len(upper)) <= 2 and not upper.startswith(f"{one}_") and not one.startswith(f"{upper}_")
    ]
    return next(iter(get_close_matches(upper, candidates, n=1, cutoff=SIMILARITY)), None)
