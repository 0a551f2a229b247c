"""The types of an import: what an app declares, the rows on their way, and what became of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from rest_framework.serializers import Serializer


class OnConflict(StrEnum):
    """The treatment of a row whose key exists."""

    SKIP = "skip"
    UPDATE = "update"
    ERROR = "error"


class Outcome(StrEnum):
    """The outcome of a valid row. The values are names of counts in ``ImportCheckpoint``."""

    CREATED = "created"
    UPDATED = "updated"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a row is not imported: a JSON pointer into the row, a code, and a sentence; ``also`` holds its other errors."""

    pointer: str
    code: str
    detail: str
    also: "tuple[Rejection, ...]" = ()

    def document(self, line: int | None = None) -> dict[str, Any]:
        """Return the rejection as the API shows it; ``line`` counts from 1."""
        document: dict[str, Any] = {} if line is None else {"line": line}
        document |= {"pointer": self.pointer, "code": self.code, "detail": self.detail}
        if self.also:
            document["also"] = [other.document() for other in self.also]
        return document


# A row as read: its first line, about its size in characters, and what ``Rows.cells`` reads its cells from.
SourceRow = tuple[int, int, Any]


class ImportRow(NamedTuple):
    """A valid row: the serializer's ``values``, which equal rows may share, and the ``key`` that identifies the record."""

    line: int
    key: str
    values: Mapping[str, Any]


class Upsert(Protocol):
    """The function that stores a batch: it gets rows of different keys in an open transaction, and returns an outcome by key."""

    def __call__(self, *, rows: Sequence[ImportRow], on_conflict: OnConflict) -> Mapping[str, Outcome | Rejection]: ...


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that an import knows. A CSV header must have the ``required`` ones."""

    known: Sequence[str]
    required: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class ImportSpec:
    """An app's import: ``serializer`` validates the cells of one row, ``key`` identifies its record by the validated values."""

    columns: Columns
    serializer: Serializer[Any]
    key: Callable[[Mapping[str, Any]], str]
    upsert: Upsert
