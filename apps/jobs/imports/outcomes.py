"""The words of an import: what to do about a key that exists, what became of a row, and the sum of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import orjson
from rest_framework.serializers import Serializer

from apps.jobs.imports.formats import Columns
from apps.jobs.imports.rows import ImportRow, Rejection

ERRORS_SHOWN = 100
REJECTED_BYTES = 2 * 1024**2  # of the rejected rows that are listed: a hostile file makes each longer than itself


class OnConflict(StrEnum):
    """What becomes of a row whose key exists."""

    SKIP = "skip"
    UPDATE = "update"
    ERROR = "error"


class Outcome(StrEnum):
    """What became of a row that passed validation; the values are names of the sums in ``Tally``."""

    CREATED = "created"
    UPDATED = "updated"
    SKIPPED = "skipped"


class Upsert(Protocol):
    """An app's part: store rows of different keys in the transaction that is open, and say by key what became of each."""

    def __call__(
        self, *, rows: Sequence[ImportRow], on_conflict: OnConflict
    ) -> Mapping[str, "Outcome | Rejection"]: ...


@dataclass(frozen=True, kw_only=True)
class Import:
    """An app's import. ``serializer`` validates one row's cells; ``key`` names the record of validated values."""

    columns: Columns
    serializer: Serializer[Any]
    key: Callable[[Mapping[str, Any]], str]
    upsert: Upsert


@dataclass(kw_only=True)
class Tally:
    """The checkpoint: how many of the file's ``total`` records are done with, and what became of them."""

    total: int
    rows: int = 0
    created: int = 0
    updated: int = 0
    skipped: int = 0
    rejected: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    errors_listed: int = 0
    errors_bytes: int = 0

    def add(self, outcomes: Mapping[int, "Outcome | Rejection"]) -> list[tuple[int, Rejection]]:
        """Count a batch's outcomes (by line), and return its rejections with their lines, in the file's order."""
        rejected = []
        for line, outcome in sorted(outcomes.items()):
            if isinstance(outcome, Rejection):
                rejected.append((line, outcome))
            else:
                setattr(self, outcome, getattr(self, outcome) + 1)
        self.rows += len(outcomes)
        self.rejected += len(rejected)
        self.errors += [one.document(line) for line, one in rejected[: ERRORS_SHOWN - len(self.errors)]]
        return rejected

    def listed(self, rejected: Sequence[tuple[int, Rejection]]) -> bytes:
        """Return the lines of these rejections, as far as REJECTED_BYTES of the file's go; the others are counted alone."""
        lines: list[bytes] = []
        if self.errors_listed < self.rejected - len(rejected):  # the list has ended with an earlier batch
            return b""
        for number, one in rejected:
            line = orjson.dumps(one.document(number), option=orjson.OPT_APPEND_NEWLINE)
            if self.errors_bytes + len(line) > REJECTED_BYTES:
                break
            self.errors_bytes += len(line)
            lines.append(line)
        self.errors_listed += len(lines)
        return b"".join(lines)

    def result(self) -> dict[str, Any]:
        """Return the sums as the API documents them: rows = created + updated + skipped + rejected."""
        return {name: value for name, value in asdict(self).items() if name not in ("total", "errors_bytes")}


def conflict(detail: str, *, pointer: str = "") -> Rejection:
    """Reject a row because its key exists."""
    return Rejection(pointer, "conflict", detail)
