"""The rules of a list's declaration, checked when it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models import Field, Model


class Projected:
    """A value of the answer that is made of columns: of one as it is, or of several by ``shape(row)``."""

    def __init__(self, *columns: str, shape: Callable[[Mapping[str, Any]], Any] | None = None) -> None:
        if len(columns) != 1 and shape is None:
            raise ImproperlyConfigured("Projected: several columns need a shape that makes one value of them.")
        self.columns = columns
        self.shape = shape

    def value(self, row: Mapping[str, Any]) -> Any:
        """Make the value out of one row of ``.values()``."""
        return self.shape(row) if self.shape else row[self.columns[0]]


def checked_columns(
    model: type[Model], columns: Sequence[str], *, nonnull: Sequence[str]
) -> tuple[Field[Any, Any], ...]:
    """Give the model's fields that an ordering names, or raise ``ImproperlyConfigured`` with the rule it breaks."""
    label = f"{model._meta.label} ordered by {', '.join(columns)}"
    if len({column.startswith("-") for column in columns}) != 1:
        raise ImproperlyConfigured(
            f"{label}: columns must all ascend or all descend, so that one row comparison serves."
        )
    try:
        fields = [model._meta.get_field(column.lstrip("-")) for column in columns]
    except FieldDoesNotExist as error:
        raise ImproperlyConfigured(f"{label}: {error}") from error
    for field in fields:
        if not isinstance(field, Field) or field not in model._meta.concrete_fields:
            raise ImproperlyConfigured(f"{label}: {field.name} is not a column of its own table.")
        if field.null and field.name not in nonnull:
            raise ImproperlyConfigured(
                f"{label}: {field.name} may be NULL, which no row comparison reaches: order by another column, or name "
                "it in nonnull to leave such rows out."
            )
    if not getattr(fields[-1], "primary_key", False):
        raise ImproperlyConfigured(f"{label}: the last column must be the primary key, so that no two rows are equal.")
    return tuple(field for field in fields if isinstance(field, Field))


def checked_names(names: Iterable[str], *, taken: Sequence[str]) -> None:
    """Raise ``ImproperlyConfigured`` for a filter that has the name of a parameter of every list."""
    for name in names:
        if name in taken:
            raise ImproperlyConfigured(f"A filter cannot be called {name}: every list has a parameter of that name.")
