"""What a list can be filtered by, and which column an index has to have for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models import Model, Q
from rest_framework import serializers

FilterField = serializers.Field[Any, Any, Any, Any]


class Filter:
    """A filter that the selector applies.

    ``equal`` are the columns that it compares with one value each; ``range`` is the column of which it takes a stretch.
    With neither it costs nothing: it decides who may see, or which list answers.
    """

    def __init__(self, field: FilterField, *, equal: Sequence[str] = (), range: str | None = None) -> None:
        self.field = field
        self.equal = tuple(equal)
        self.range = range


class Matching:
    """A filter that no ordered index can serve (words, members of an array), applied by the list itself.

    ``condition`` makes the condition out of the value read; a GIN or GiST index finds its rows, in no order. Where the index
    alone cannot tell (a phrase, of which it knows the words), ``found_by`` makes a condition that it can and that every match
    meets; an empty one where there is none.
    ``matching.matched`` says how many of them are sorted, and how far is walked when they are more.
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
    """Give the filters by name; a bare serializer field compares the column of its own name.

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
