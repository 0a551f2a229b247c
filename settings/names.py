"""Names that nothing reads: which of them are slips of a finger, and which belong to other programs."""

from collections.abc import Collection

_CHARACTERS_A_SLIP = 7  # shorter names are too close to too many words: PORT, HOST, POST


def near(name: str, known: Collection[str]) -> str | None:
    """Return the known name that ``name`` was probably meant to be, or None.

    One slip (a letter too many, missing, wrong, or two swapped) is forgiven every seven letters, two at most. A name with
    another word or a number behind it (``DATABASE_URL_X``, ``REDIS_URL2``) is a name of its own.
    """
    upper = name.upper()
    slips = min(2, len(name) // _CHARACTERS_A_SLIP)
    if not slips or any(letter.isdigit() for letter in name):
        return None
    letters = set(upper)
    for candidate in known:
        if (
            abs(len(candidate) - len(name)) <= slips
            and len(letters.symmetric_difference(candidate)) <= 2 * slips
            and not upper.startswith(f"{candidate}_")
            and not candidate.startswith(f"{upper}_")
            and _distance(upper, candidate) <= slips
        ):
            return candidate
    return None


def _distance(one: str, other: str) -> int:
    """Return how many slips lie between two names: the optimal string alignment distance (Damerau 1964)."""
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
