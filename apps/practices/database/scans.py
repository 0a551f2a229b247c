"""Scans of an ordered list from a position in one direction, in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from operator import add
from typing import Any

from django.db.models import F, Func, IntegerField, QuerySet, TextField, Value
from django.db.models.fields.tuple_lookups import (
    Tuple,
    TupleGreaterThan,
    TupleGreaterThanOrEqual,
    TupleLessThan,
    TupleLessThanOrEqual,
)
from django.db.models.functions import Cast, Coalesce

from apps.practices.database.cursors import Cursor
from apps.practices.database.matching import unindexed_column

PAGE_BYTES = 1024**2  # of a page's heavy columns; a larger row is a page of its own

# The comparison for rows after a position, by (descending, inclusive).
_FOLLOWING = {
    (False, False): TupleGreaterThan,
    (False, True): TupleGreaterThanOrEqual,
    (True, False): TupleLessThan,
    (True, True): TupleLessThanOrEqual,
}


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan in the order of the columns ``names``, from the position of ``cursor`` (None: from the start).

    With ``sorted_`` the SQL uses no index for the order, which is best for small sets.
    """

    names: tuple[str, ...]
    cursor: Cursor | None
    backward: bool
    descending: bool

    @classmethod
    def along(cls, ordering: Sequence[str], cursor: Cursor | None) -> "Scan":
        """Return the scan for ``cursor`` along the columns of an ordering."""
        backward = cursor is not None and cursor.backward
        names = tuple(column.lstrip("-") for column in ordering)
        return cls(names, cursor, backward, ordering[0].startswith("-") != backward)

    def ordered(self, rows: QuerySet[Any], *, sorted_: bool = False) -> QuerySet[Any]:
        """Return the rows in the order of the scan."""
        columns = self._columns(sorted_)
        return rows.order_by(*(column.desc() if self.descending else column.asc() for column in columns))

    def following(self, rows: QuerySet[Any], *, sorted_: bool = False) -> QuerySet[Any]:
        """Return the rows after the scan's position."""
        if self.cursor is None:
            return rows
        follows = _FOLLOWING[self.descending, self.cursor.inclusive]
        return rows.filter(follows(Tuple(*self._columns(sorted_)), self.cursor.values))

    def until(self, rows: QuerySet[Any], end: tuple[Any, ...]) -> QuerySet[Any]:
        """Return the rows up to a position, including the row at it."""
        return rows.filter(_FOLLOWING[not self.descending, True](Tuple(*self._columns(False)), end))

    def _columns(self, sorted_: bool) -> list[Any]:
        return [unindexed_column(name) if sorted_ else F(name) for name in self.names]


def rows_fitting(rows: QuerySet[Any], *, columns: Sequence[str], limit: int) -> int:
    """Return how many of the first ``limit`` rows fit into PAGE_BYTES with these columns, at least one.

    PostgreSQL knows the length of a text without reading it.
    """
    sizes = [Coalesce(Func(Cast(F(name), TextField()), function="octet_length"), Value(0)) for name in columns]
    weight = reduce(add, sizes[1:], sizes[0])
    # The expression has no name of its own, which could clash with a column.
    weighed = rows.values_list(Cast(weight, IntegerField()), flat=True)[:limit]
    return max(1, sum(total <= PAGE_BYTES for total in accumulate(weighed)))
