"""Unknown names in the environment: which of them are probably misspelt."""

from collections.abc import Collection

_CHARACTERS_PER_TYPO = 7  # shorter names, such as PORT, resemble too many words: HOST, POST


def near(name: str, known: Collection[str]) -> str | None:
    """Return the known name that ``name`` is probably a misspelling of, or None.

    One error (an extra, missing or wrong letter, or two swapped) is allowed per seven letters, two at most. A name with
    another word or a number at its end (``DATABASE_URL_X``, ``REDIS_URL2``) is not a misspelling.
    """
    upper = name.upper()
    typos = min(2, len(name) // _CHARACTERS_PER_TYPO)
    if not typos or any(letter.isdigit() for letter in name):
        return None
    letters = set(upper)
    for candidate in known:
        if (
            abs(len(candidate) - len(name)) <= typos
            and len(letters.symmetric_difference(candidate)) <= 2 * typos
            and not upper.startswith(f"{candidate}_")
            and not candidate.startswith(f"{upper}_")
            and _distance(upper, candidate) <= typos
        ):
            return candidate
    return None


def _distance(one: str, other: str) -> int:
    """Return the optimal string alignment distance of two names (Damerau 1964)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        above, before, row = before, row, [i]
        for j, target in enumerate(other, start=1):
            steps = min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != target))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == target:
                steps = min(steps, above[j - 2] + 1)
            row.append(steps)
    return row[-1]
