"""Filters of a list, and the columns that an index needs for them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models import Model, Q
from rest_framework import serializers

FilterField = serializers.Field[Any, Any, Any, Any]


class Filter:
    """A filter that the selector applies.

    ``equal`` are the columns that it compares with one value each, ``range`` is the column that it limits to a range. A filter
    with neither needs no index: it selects the list, or who may see it.
    """

    def __init__(self, field: FilterField, *, equal: Sequence[str] = (), range: str | None = None) -> None:
        self.field = field
        self.equal = tuple(equal)
        self.range = range


class Matching:
    """A filter without an ordered index (words, members of an array), which the list itself applies.

    ``condition(value)`` is found by a GIN or GiST index, in no order. Where the index cannot answer it alone, such as a phrase,
    ``found_by(value)`` is a condition that the index can answer and that every match meets; empty if no such condition exists.
    ``matching`` says how many rows are sorted and scanned.
    """

    equal: tuple[str, ...] = ()
    range: str | None = None

    def __init__(
        self, field: FilterField, *, condition: Callable[[Any], Q], found_by: Callable[[Any], Q] | None = None
    ) -> None:
        self.field = field
        self.condition = condition
        self.found_by = found_by


def declared_filters(
    model: type[Model], filters: Mapping[str, FilterField | Filter | Matching]
) -> dict[str, Filter | Matching]:
    """Return the filters by name. A serializer field alone compares the column of the same name.

    Raises ``ImproperlyConfigured`` for a column that the model does not have.
    """
    made = {
        name: Filter(given, equal=(name,)) if isinstance(given, serializers.Field) else given
        for name, given in filters.items()
    }
    for name, declared in made.items():
        for column in (*declared.equal, *([declared.range] if declared.range else [])):
            try:
                model._meta.get_field(column)
            except FieldDoesNotExist as error:
                raise ImproperlyConfigured(
                    f"{model._meta.label} filtered by {name}: {error}. Wrap its field in Filter(...) or Matching(...)."
                ) from error
    return made
