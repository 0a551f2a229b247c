"""A row of an import on its way: as read, as validated, as rejected."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a row is not imported: where (a JSON pointer into the row), a stable word, a sentence.

    ``also`` holds what else is wrong with the same row.
    """

    pointer: str
    code: str
    detail: str
    also: tuple["Rejection", ...] = ()

    def document(self, line: int | None = None) -> dict[str, Any]:
        """Give it as the result shows it; ``line`` is that of the file, the first being 1."""
        document: dict[str, Any] = {} if line is None else {"line": line}
        document |= {"pointer": self.pointer, "code": self.code, "detail": self.detail}
        if self.also:
            document["also"] = [more.document() for more in self.also]
        return document


class SourceRow(NamedTuple):
    """One record as read: its first line, its size in characters, and its cells or why they cannot be read.

    Short rows that are equal may share their cells.
    """

    line: int
    size: int
    cells: Mapping[str, Any] | Rejection


class ImportRow(NamedTuple):
    """One record that passed validation: ``values`` are the serializer's, ``key`` tells which record it is.

    Equal rows may share their values, so nothing may change them in place.
    """

    line: int
    key: str
    values: Mapping[str, Any]
