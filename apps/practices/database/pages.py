"""The query and the result of one page of a list."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.practices.database.cursors import Cursor, cursor_encode


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The validated query of one request. Requests with the same parameters share it, so it is never changed.

    ``filters`` are the values of the filters given, for the selector; ``matching`` those of ``Matching`` filters, which the
    list applies. ``key`` is part of a cache key: equal queries have the same, in any order of their parameters.
    """

    path: str
    limit: int
    ordering: str
    fields: tuple[str, ...]
    filters: Mapping[str, Any]
    matching: Mapping[str, Any]
    binding: str
    base: str  # the parameters that differ from the defaults, sorted and encoded, up to the value of the cursor
    key: str
    cursor: Cursor | None = None

    def at(self, cursor: Cursor, text: str) -> "ListQuery":
        """Return the query of the page at ``cursor``, which the request gave as ``text``."""
        return ListQuery(
            self.path,
            self.limit,
            self.ordering,
            self.fields,
            self.filters,
            self.matching,
            self.binding,
            self.base,
            self.base + text,
            cursor,
        )

    def reference(self, cursor: Cursor | None) -> str | None:
        """Return the path and query of the page at ``cursor``."""
        return f"{self.path}?{self.base}{cursor_encode(cursor, binding=self.binding)}" if cursor else None


@dataclass(frozen=True, slots=True)
class Page:
    """One page: rows as dictionaries, and the path and query of the next and previous pages, or None."""

    results: list[dict[str, Any]]
    next: str | None
    previous: str | None

    def body(self) -> dict[str, Any]:
        """Return the page as a response body."""
        return {"results": self.results, "next": self.next, "previous": self.previous}
