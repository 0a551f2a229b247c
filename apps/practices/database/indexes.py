"""Indexes that return a list in order: first the columns that are compared, then those of the ordering."""

from collections.abc import Collection, Sequence

from django.db.models import F, Index, Model, OrderBy


def index_serves(
    model: type[Model], *, ordering: Sequence[str], equal: Collection[str] = (), ranges: Collection[str] = ()
) -> bool:
    """Return whether an index of the model returns the rows with one value in each of ``equal`` in this order, or reversed.

    ``ranges`` are columns limited to a range: the ordering must begin with it. An ordering by only the primary key has the
    index of the primary key. Conditions of partial indexes are not considered.
    """
    rest = tuple(column for column in ordering if column.lstrip("-") not in equal)
    if not set(ranges) <= {rest[0].lstrip("-")}:
        return False
    if not equal and len(rest) == 1:
        return True
    wanted = {rest, tuple(column[1:] if column.startswith("-") else f"-{column}" for column in rest)}
    return any(
        {name.lstrip("-") for name in columns[: len(equal)]} == set(equal) and columns[len(equal) :] in wanted
        for columns in map(_index_columns, model._meta.indexes)
    )


def _index_columns(index: Index) -> tuple[str, ...]:
    """Return an index's columns in the notation of an ordering, none for an index with other expressions."""
    if index.fields:
        return tuple(f"-{name}" if direction == "DESC" else name for name, direction in index.fields_orders)
    columns = []
    for expression in index.expressions:
        if not isinstance(expression, OrderBy) or not isinstance(expression.expression, F):
            return ()
        name = str(expression.expression.deconstruct()[1][0])
        columns.append(f"-{name}" if expression.descending else name)
    return tuple(columns)
