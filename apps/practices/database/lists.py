"""Bounded lists: keyset pages over a declared ordering, with projection and filters, in one query.

A page starts after a row, not after a number of rows: its cost does not grow with its depth, and rows inserted
or deleted meanwhile neither repeat nor hide others. Each list is declared once::

    NOTES = KeysetList(
        model=Note,
        orderings={"-created_at": ("-created_at", "-id"), "created_at": ("created_at", "id")},
        fields={"id": "id", "title": "title"},
        filters={"search": serializers.CharField(max_length=200)},
    )

and a view reads it in two lines: ``query = NOTES.parse(request)`` and ``NOTES.read(query, queryset)``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.db.models import F, Model, QuerySet
from django.db.models.fields.tuple_lookups import (
    Tuple,
    TupleGreaterThan,
    TupleGreaterThanOrEqual,
    TupleLessThan,
    TupleLessThanOrEqual,
)
from django.http import HttpRequest
from django.utils.encoding import escape_uri_path
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request

from apps.practices.database.cursors import BadCursor, Cursor, cursor_decode, cursor_encode
from apps.practices.database.declarations import Projected, checked_columns, checked_names
from apps.practices.database.schema import LIMIT_DEFAULT, LIMIT_MAX, list_parameters
from apps.practices.errors import FieldError, ValidationProblem
from apps.practices.validation.query import parameter_error, query_parameters

__all__ = ["LIMIT_DEFAULT", "LIMIT_MAX", "KeysetList", "ListQuery", "Page", "Projected"]

# By (descending, inclusive): rows that follow a position in that direction.
_FOLLOWING = {
    (False, False): TupleGreaterThan,
    (False, True): TupleGreaterThanOrEqual,
    (True, False): TupleLessThan,
    (True, True): TupleLessThanOrEqual,
}


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What one request asks of a list, read and checked.

    ``filters`` are the validated values of the filters given, ready for the selector. ``key`` is the same for
    requests that ask the same, whatever the order of their parameters: the part of a cache key that varies.
    """

    path: str
    limit: int
    ordering: str
    fields: tuple[str, ...]
    filters: dict[str, Any]
    cursor: Cursor | None
    parameters: dict[str, str]  # those that differ from the defaults, as text, sorted; without the cursor
    binding: str
    key: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page: rows as plain dictionaries, and path-absolute references to the pages beside it, or None."""

    results: list[dict[str, Any]]
    next: str | None
    previous: str | None

    def body(self) -> dict[str, Any]:
        """Give the page as the API answers it."""
        return {"results": self.results, "next": self.next, "previous": self.previous}


class KeysetList:
    """The declaration of one list: what may be ordered by, shown and filtered, and how its pages are read.

    ``orderings``: name in ``?ordering=`` to its columns, the first being the default. Columns are the model's own, all of
    one direction (so that one row comparison, and one index, serves them) and end in the primary key (so that no two
    rows are equal). A nullable column must be named in ``nonnull``: rows without a value are left out of orderings by it.
    ``fields``: name in the answer to a column of ``.values()``, or to a ``Projected`` value made of several.
    ``filters``: name of a query parameter to the serializer field that reads it.

    Raises ``ImproperlyConfigured`` when the declaration breaks one of these rules. System check ``database.E003`` demands
    an index for each ordering.
    """

    declared: ClassVar[list["KeysetList"]] = []

    def __init__(
        self,
        *,
        model: type[Model],
        orderings: Mapping[str, Sequence[str]],
        fields: Mapping[str, str | Projected],
        filters: Mapping[str, serializers.Field[Any, Any, Any, Any]] | None = None,
        nonnull: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.columns = {name: checked_columns(model, columns, nonnull=nonnull) for name, columns in orderings.items()}
        self.orderings = {name: tuple(columns) for name, columns in orderings.items()}
        self.default = next(iter(orderings))
        self.fields = {name: Projected(of) if isinstance(of, str) else of for name, of in fields.items()}
        self.filters = dict(filters or {})
        self.nonnull = tuple(nonnull)
        checked_names(self.filters, taken=("limit", "cursor", "ordering", "fields"))
        self._parameters: dict[str, serializers.Field[Any, Any, Any, Any]] = {
            "limit": serializers.IntegerField(min_value=1, max_value=LIMIT_MAX),
            "cursor": serializers.CharField(),
            "ordering": serializers.ChoiceField(choices=list(self.orderings)),
            "fields": serializers.CharField(),
            **self.filters,
        }
        KeysetList.declared.append(self)

    def parse(self, request: HttpRequest | Request) -> ListQuery:
        """Read the query string; raise ``ValidationProblem`` (400) naming each parameter that is wrong."""
        values = query_parameters(request, self._parameters)
        fields = self._fields(values.get("fields"))
        ordering = values.get("ordering", self.default)
        limit = values.get("limit", LIMIT_DEFAULT)
        filters = {name: values[name] for name in sorted(self.filters) if name in values}
        asked = {name: request.GET[name] for name in filters}
        binding = json.dumps([request.path, ordering, asked])
        differing = {
            **asked,
            **({"ordering": ordering} if ordering != self.default else {}),
            **({"limit": str(limit)} if limit != LIMIT_DEFAULT else {}),
            **({"fields": ",".join(fields)} if len(fields) != len(self.fields) else {}),
        }
        parameters = dict(sorted(differing.items()))
        return ListQuery(
            path=escape_uri_path(request.path),
            limit=limit,
            ordering=ordering,
            fields=fields,
            filters=filters,
            cursor=self._cursor(values.get("cursor"), binding=binding, ordering=ordering),
            parameters=parameters,
            binding=binding,
            key=urlencode({**parameters, "cursor": values.get("cursor", "")}),
        )

    def read(self, query: ListQuery, queryset: QuerySet[Any]) -> Page:
        """Read one page of ``queryset`` in one query of at most limit + 1 rows, of the columns asked for alone."""
        order = self.orderings[query.ordering]
        names = tuple(column.lstrip("-") for column in order)
        cursor = query.cursor
        backward = cursor is not None and cursor.backward
        descending = order[0].startswith("-") != backward
        rows = queryset.order_by(*(f"-{name}" if descending else name for name in names))
        for name in names:
            if name in self.nonnull:
                rows = rows.filter(**{f"{name}__isnull": False})
        if cursor is not None:
            follows = _FOLLOWING[descending, cursor.inclusive]
            rows = rows.filter(follows(Tuple(*(F(name) for name in names)), cursor.values))
        wanted = dict.fromkeys(column for name in query.fields for column in self.fields[name].columns)
        found = list(rows.values(*dict.fromkeys([*wanted, *names]))[: query.limit + 1])
        more = len(found) > query.limit
        found = found[: query.limit]
        if backward:
            found.reverse()
        return Page(
            results=[{name: self.fields[name].value(row) for name in query.fields} for row in found],
            next=self._reference(query, names, found, backward=False, present=more if not backward else True),
            previous=self._reference(
                query, names, found, backward=True, present=more if backward else cursor is not None
            ),
        )

    def parameters(self) -> list[OpenApiParameter]:
        """Give the query parameters for ``@extend_schema(parameters=...)``."""
        return list_parameters(orderings=list(self.orderings), fields=list(self.fields), filters=self.filters)

    def _fields(self, text: str | None) -> tuple[str, ...]:
        """Give the fields asked for, in their declared order; all of them when none is."""
        if text is None:
            return tuple(self.fields)
        asked = set(text.split(","))
        unknown = sorted(asked - set(self.fields))
        if unknown:
            self._refuse("fields", "unknown", f"Not a field of this list: {', '.join(unknown)[:200]}.")
        return tuple(name for name in self.fields if name in asked)

    def _cursor(self, text: str | None, *, binding: str, ordering: str) -> Cursor | None:
        if text is None:
            return None
        try:
            return cursor_decode(text, binding=binding, columns=self.columns[ordering])
        except BadCursor:
            return self._refuse("cursor", "invalid", "Not a cursor of this list with these filters and this ordering.")

    def _refuse(self, name: str, code: str, detail: str) -> Any:
        errors: list[FieldError] = [parameter_error(name, code, detail)]
        raise ValidationProblem(errors=errors)

    @staticmethod
    def _reference(
        query: ListQuery, names: tuple[str, ...], found: list[dict[str, Any]], *, backward: bool, present: bool
    ) -> str | None:
        """Give the reference to the page before or after ``found``, when there is one.

        An empty page that was reached by a cursor leads back to where it came from, that row included.
        """
        if found and present:
            row = found[0] if backward else found[-1]
            cursor = Cursor(values=tuple(row[name] for name in names), backward=backward)
        elif not found and query.cursor is not None and query.cursor.backward != backward:
            cursor = Cursor(values=query.cursor.values, backward=backward, inclusive=True)
        else:
            return None
        return f"{query.path}?{urlencode({**query.parameters, 'cursor': cursor_encode(cursor, binding=query.binding)})}"
