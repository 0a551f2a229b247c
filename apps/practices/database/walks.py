"""One walk through an ordered list: from where, in which direction, and the SQL that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.fields.tuple_lookups import (
    Tuple,
    TupleGreaterThan,
    TupleGreaterThanOrEqual,
    TupleLessThan,
    TupleLessThanOrEqual,
)

from apps.practices.database.cursors import Cursor
from apps.practices.database.matching import unindexed

# By (descending, inclusive): rows that follow a position in that direction.
_FOLLOWING = {
    (False, False): TupleGreaterThan,
    (False, True): TupleGreaterThanOrEqual,
    (True, False): TupleLessThan,
    (True, True): TupleLessThanOrEqual,
}


@dataclass(frozen=True, slots=True)
class Walk:
    """A direction through an order of ``names``, and the position that it starts after (None: at the end it comes from).

    With ``sorted_`` the SQL is written so that no index over the order serves it: for sets that are small already.
    """

    names: tuple[str, ...]
    cursor: Cursor | None
    backward: bool
    descending: bool

    @classmethod
    def along(cls, ordering: Sequence[str], cursor: Cursor | None) -> Walk:
        """Make the walk that ``cursor`` asks for along the columns of a declared ordering."""
        backward = cursor is not None and cursor.backward
        names = tuple(column.lstrip("-") for column in ordering)
        return cls(names, cursor, backward, ordering[0].startswith("-") != backward)

    def ordered(self, rows: QuerySet[Any], *, sorted_: bool = False) -> QuerySet[Any]:
        """Put the rows in the order of the walk."""
        columns = self._columns(sorted_)
        return rows.order_by(*(column.desc() if self.descending else column.asc() for column in columns))

    def following(self, rows: QuerySet[Any], *, sorted_: bool = False) -> QuerySet[Any]:
        """Keep the rows after the walk's position."""
        if self.cursor is None:
            return rows
        follows = _FOLLOWING[self.descending, self.cursor.inclusive]
        return rows.filter(follows(Tuple(*self._columns(sorted_)), self.cursor.values))

    def until(self, rows: QuerySet[Any], end: tuple[Any, ...]) -> QuerySet[Any]:
        """Keep the rows up to a position, that of it included."""
        return rows.filter(_FOLLOWING[not self.descending, True](Tuple(*self._columns(False)), end))

    def _columns(self, sorted_: bool) -> list[Any]:
        return [unindexed(name) if sorted_ else F(name) for name in self.names]
