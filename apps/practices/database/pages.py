"""The query and the result of one page of a list."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from apps.practices.database.cursors import Cursor, cursor_encode


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The validated query of one request.

    ``filters`` are the values of the filters given, for the selector; ``matching`` those of ``Matching`` filters, which the
    list applies. ``key`` is part of a cache key: equal queries have the same, in any order of their parameters.
    """

    path: str
    limit: int
    ordering: str
    fields: tuple[str, ...]
    filters: dict[str, Any]
    matching: dict[str, Any]
    cursor: Cursor | None
    parameters: dict[str, str]  # those that differ from the defaults, as text, sorted, without the cursor
    binding: str
    key: str

    def reference(self, cursor: Cursor | None) -> str | None:
        """Return the path and query of the page at ``cursor``."""
        if cursor is None:
            return None
        return f"{self.path}?{urlencode({**self.parameters, 'cursor': cursor_encode(cursor, binding=self.binding)})}"


@dataclass(frozen=True, slots=True)
class Page:
    """One page: rows as dictionaries, and the path and query of the next and previous pages, or None."""

    results: list[dict[str, Any]]
    next: str | None
    previous: str | None

    def body(self) -> dict[str, Any]:
        """Return the page as a response body."""
        return {"results": self.results, "next": self.next, "previous": self.previous}
