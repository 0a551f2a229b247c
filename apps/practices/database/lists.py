"""Bounded lists: keyset pages of a declared ordering, with projection and filters, in one query.

A page starts after a row instead of after a number of rows. So its cost does not grow with its depth, and concurrent inserts
and deletes neither repeat nor skip rows. Each list is declared once::

    NOTES = KeysetList(
        model=Note,
        orderings={"-created_at": ("-created_at", "-id"), "created_at": ("created_at", "id")},
        fields={"id": "id", "title": "title"},
        filters={"owner": CanonicalUUIDField()},
    )

with an index ``(*columns compared by filters, *columns of the ordering)`` for each combination that it offers. A view
reads it in two lines: ``query = NOTES.parse(request)`` and ``NOTES.read(query, note_list, **query.filters)``.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.encoding import escape_uri_path
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request

from apps.practices.database.cursors import BadCursor, Cursor, cursor_decode
from apps.practices.database.declarations import Projected, Projection, checked_columns, checked_names
from apps.practices.database.filters import Filter, FilterField, Matching, declared_filters
from apps.practices.database.indexes import index_serves
from apps.practices.database.matching import SCANNED_MAX, SORTED_MAX, MatchingFilters, searching, unindexed_condition
from apps.practices.database.pages import ListQuery, Page
from apps.practices.database.prepared import statement_for
from apps.practices.database.scans import Scan, rows_fitting
from apps.practices.database.schema import LIMIT_DEFAULT, LIMIT_MAX, list_parameters
from apps.practices.errors import FieldError, ValidationProblem
from apps.practices.mechanisms.requests import django_request
from apps.practices.validation.fields import BoundedIntegerField
from apps.practices.validation.query import parameter_error, parameters_validate, query_parameters

__all__ = ["LIMIT_DEFAULT", "LIMIT_MAX", "Filter", "KeysetList", "ListQuery", "Matching", "Page", "Projected"]


# The rows of a page and one more if there is one, and the size of the page.
_Rows = tuple[Sequence[tuple[Any, ...]], int]
REMEMBERED = 256  # parsed queries of a list, of the most recently used parameters
_SHORT = 500  # characters of a query string that is remembered
_is_plain = re.compile(r"[A-Za-z0-9_.-]+").fullmatch  # what a cursor consists of
_LITERAL = (serializers.ChoiceField, serializers.BooleanField)  # fields with few values, each with its own SQL


class KeysetList:
    """The declaration of a list: its orderings, fields and filters.

    ``orderings``: name in ``?ordering=`` to columns; the first is the default. Columns are the model's own, all in one
    direction (for one row comparison and one index), and end with the primary key (so that no two rows are equal). Nullable
    columns must be listed in ``nonnull``: orderings by them exclude rows without a value.
    ``fields``: name in the response to a column of ``.values()``, or to a ``Projected`` value of several.
    ``filters``: name of a query parameter to a serializer field, whose value is compared with the column of that name; or to a
    ``Filter`` or ``Matching``. ``scope``: columns that the selector always compares, such as the owner.
    ``heavy``: fields with long texts, only returned if ``?fields=`` asks for them. A page with them ends at PAGE_BYTES.

    Combinations of filters and orderings without an index are refused (400). Raises ``ImproperlyConfigured`` if the
    declaration breaks a rule. System check ``database.E003`` requires an index for each ordering, and for each filter in the
    default ordering.
    """

    declared: ClassVar[list["KeysetList"]] = []

    def __init__(
        self,
        *,
        model: type[Model],
        orderings: Mapping[str, Sequence[str]],
        fields: Mapping[str, str | Projected],
        filters: Mapping[str, FilterField | Filter | Matching] | None = None,
        nonnull: Sequence[str] = (),
        scope: Sequence[str] = (),
        heavy: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.columns = {name: checked_columns(model, columns, nonnull=nonnull) for name, columns in orderings.items()}
        self.orderings = {name: tuple(columns) for name, columns in orderings.items()}
        self.default = next(iter(orderings))
        self.fields = {name: Projected(of) if isinstance(of, str) else of for name, of in fields.items()}
        checked_names(filters or {}, taken=("limit", "cursor", "ordering", "fields"))
        self.filters = declared_filters(model, filters or {})
        self.scope = tuple(scope)
        self.heavy = tuple(heavy)
        # Of a filter without a column the selector decides what it means.
        self._literals = frozenset(
            name
            for name, declared in self.filters.items()
            if not declared.equal and not declared.range and isinstance(declared.field, _LITERAL)
        )
        self._projection = lru_cache(maxsize=REMEMBERED)(self._projected)  # by the fields and the ordering of a query
        self._parsed_before = lru_cache(maxsize=REMEMBERED)(self._parsed)  # by the path and the parameters
        self.nonnull = tuple(nonnull)
        self._parameters: dict[str, FilterField] = {
            "limit": BoundedIntegerField(min_value=1, max_value=LIMIT_MAX),
            "cursor": serializers.CharField(),
            "ordering": serializers.ChoiceField(choices=list(self.orderings)),
            "fields": serializers.CharField(),
            **{name: declared.field for name, declared in self.filters.items()},
        }
        KeysetList.declared.append(self)

    def parse(self, request: HttpRequest | Request) -> ListQuery:
        """Return the validated query of a request. Raise ``ValidationProblem`` (400) with each invalid parameter."""
        if isinstance(request, Request):
            request = django_request(request)
        given = dict(request.GET.lists())
        texts = given.pop("cursor", None)
        text = texts and texts[0]
        if texts and not (len(texts) == 1 and _is_plain(texts[0])):
            text = query_parameters(request, self._parameters).get("cursor")
        parameters = tuple([(name, *values) for name, values in given.items()])
        is_short = len(request.META.get("QUERY_STRING", "")) <= _SHORT
        query = (self._parsed_before if is_short else self._parsed)(request.path, parameters)
        return query.at(self._cursor(text, query), text) if text else query

    def _parsed(self, path: str, parameters: tuple[tuple[str, ...], ...]) -> ListQuery:
        """Return the query of the first page for the name and values of each parameter."""
        values = parameters_validate([(name, texts) for name, *texts in parameters], self._parameters)
        fields = self._fields(values.get("fields"))
        ordering = values.get("ordering", self.default)
        limit = values.get("limit", LIMIT_DEFAULT)
        filters = {name: values[name] for name in sorted(self.filters) if name in values}
        asked = {name: texts[-1] for name, *texts in parameters if name in filters}
        asked = {name: asked[name] for name in filters}
        if not self.served(ordering, filters):
            self._refuse_combination(ordering, sorted(filters))
        differing = {
            **asked,
            **({"ordering": ordering} if ordering != self.default else {}),
            **({"limit": str(limit)} if limit != LIMIT_DEFAULT else {}),
            **({"fields": ",".join(fields)} if fields != self._fields(None) else {}),
        }
        base = urlencode({**dict(sorted(differing.items())), "cursor": ""})
        matching = {name: value for name, value in filters.items() if isinstance(self.filters[name], Matching)}
        return ListQuery(
            path=escape_uri_path(path),
            limit=limit,
            ordering=ordering,
            fields=fields,
            filters=MappingProxyType({name: value for name, value in filters.items() if name not in matching}),
            matching=MappingProxyType(matching),
            binding=json.dumps([path, ordering, asked]),
            base=base,
            key=base,
        )

    def served(self, ordering: str, filters: Iterable[str]) -> bool:
        """Return whether an index serves these filters in this ordering."""
        declared = [self.filters[name] for name in filters]
        return index_serves(
            self.model,
            ordering=self.orderings[ordering],
            equal={*self.scope, *(column for one in declared for column in one.equal)},
            ranges={one.range for one in declared if one.range},
        )

    def read(self, query: ListQuery, rows: QuerySet[Any] | Callable[..., QuerySet[Any]], **arguments: Any) -> Page:
        """Read one page of ``rows``: at most limit + 1 rows, and only the columns asked for.

        ``rows`` is a selector, which gets the ``arguments``, or its result. Of a selector the SQL is kept (see ``prepared``).

        This takes one query, and up to five with a ``Matching`` filter.
        """
        scan = Scan.along(self.orderings[query.ordering], query.cursor)
        sought = MatchingFilters.of(self.filters, query.matching) if query.matching else None
        is_heavy = bool(self.heavy) and not set(self.heavy).isdisjoint(query.fields)
        if not isinstance(rows, QuerySet):
            if sought is None and not is_heavy:
                return self._page(query, scan, self._read_kept(query, rows, arguments), query.limit, end=None)
            rows = rows(**arguments)
        rows = self._with_values(rows, scan)
        if sought is None:
            found, end = self._read(query, scan, scan.ordered(scan.following(rows))), None
        else:
            with searching():
                found, end = self._read_matches(query, scan, rows, sought)
        return self._page(query, scan, *found, end=end)

    def _read_kept(
        self, query: ListQuery, selector: Callable[..., QuerySet[Any]], arguments: Mapping[str, Any]
    ) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a page and one more. The values of the cursor are arguments, too, whose names are numbers."""
        cursor = query.cursor
        values: dict[Any, Any] = {**arguments, **dict(enumerate(cursor.values))} if cursor else dict(arguments)
        direction = (cursor.backward, cursor.inclusive) if cursor else None

        def build(values: Mapping[Any, Any]) -> QuerySet[Any]:
            given = {name: value for name, value in values.items() if isinstance(name, str)}
            start = cursor and replace(cursor, values=tuple(values[place] for place in range(len(cursor.values))))
            scan = Scan.along(self.orderings[query.ordering], start)
            rows = scan.ordered(scan.following(self._with_values(selector(**given), scan)))
            columns = self._projection(query.fields, query.ordering).columns
            return rows.values_list(*columns)[: query.limit + 1]

        shape = (self, selector, query.ordering, query.fields, query.limit, direction)
        return statement_for(shape, values, self._literals).rows(build, values)

    def _read_matches(
        self, query: ListQuery, scan: Scan, rows: QuerySet[Any], sought: MatchingFilters
    ) -> tuple[_Rows, tuple[Any, ...] | None]:
        """Return the matching rows of a page, and where the scan stopped if it did not reach the end."""
        near, end = self._next_matches(scan, rows, sought.condition, SORTED_MAX)
        found, count = self._read(query, scan, near)
        if end is None or len(found) > count:
            return (found, count), end
        if (keys := sought.all_keys(rows)) is not None:
            matches = scan.ordered(scan.following(rows.filter(pk__in=keys), sorted_=True), sorted_=True)
            return self._read(query, scan, matches), None
        far, end = self._next_matches(scan, rows, sought.condition, SCANNED_MAX)
        return self._read(query, scan, far), end

    def _read(self, query: ListQuery, scan: Scan, rows: QuerySet[Any]) -> _Rows:
        """Return the page's rows and one more, with the columns asked for and those of the order, and the page's size."""
        columns = self._projection(query.fields, query.ordering).columns
        heavy = [column for name in query.fields if name in self.heavy for column in self.fields[name].columns]
        count = rows_fitting(rows, columns=heavy, limit=query.limit) if heavy else query.limit
        return list(rows.values_list(*columns)[: count + 1]), count

    def _projected(self, fields: tuple[str, ...], ordering: str) -> Projection:
        """Return the columns of these fields and of the ordering, and how rows of them are shown."""
        order = [column.lstrip("-") for column in self.orderings[ordering]]
        return Projection({name: self.fields[name] for name in fields}, order=order)

    def first_matches(self, query: ListQuery, queryset: QuerySet[Any]) -> list[Any]:
        """Return the primary keys of the first matches of ``query``, at most SORTED_MAX, in no order.

        They are all matches, or those among the first SCANNED_MAX rows.
        """
        scan = Scan.along(self.orderings[query.ordering], query.cursor)
        rows = self._with_values(queryset, scan)
        sought = MatchingFilters.of(self.filters, query.matching) or MatchingFilters([])
        with searching():
            ahead, _ = self._next_matches(scan, rows, sought.condition, SCANNED_MAX)
            near = list(ahead.values_list("pk", flat=True)[:SORTED_MAX])
            found = None if len(near) == SORTED_MAX else sought.all_keys(rows)
        return near if found is None else found

    def _next_matches(
        self, scan: Scan, rows: QuerySet[Any], condition: Q, count: int
    ) -> tuple[QuerySet[Any], tuple[Any, ...] | None]:
        """Return the matches among the next ``count`` rows, and the position of the last of these if there may be more."""
        ahead = scan.ordered(scan.following(rows))
        end = ahead.values_list(*scan.names)[count - 1 : count].first()
        return (scan.until(ahead, end) if end else ahead).filter(unindexed_condition(condition)), end

    def _with_values(self, queryset: QuerySet[Any], scan: Scan) -> QuerySet[Any]:
        """Return the rows that have values in all columns of the order."""
        return queryset.filter(**{f"{name}__isnull": False for name in scan.names if name in self.nonnull})

    def _page(
        self, query: ListQuery, scan: Scan, found: Sequence[tuple[Any, ...]], count: int, *, end: tuple[Any, ...] | None
    ) -> Page:
        """Return the page of the rows found, of which there may be one more than ``count``. ``end`` is where a scan stopped."""
        projection = self._projection(query.fields, query.ordering)
        more = len(found) > count
        rows = found[:count]
        onward = projection.key(rows[-1]) if more else end
        ahead = Cursor(values=onward, backward=scan.backward) if onward else None
        behind = None
        if query.cursor is not None and rows:
            behind = Cursor(values=projection.key(rows[0]), backward=not scan.backward)
        elif (
            query.cursor is not None
        ):  # an empty page leads back to the position that it was read from, including its row
            behind = Cursor(values=query.cursor.values, backward=not scan.backward, inclusive=True)
        following, previous = (behind, ahead) if scan.backward else (ahead, behind)
        results = projection.shown(rows)
        if scan.backward:
            results.reverse()
        return Page(results=results, next=query.reference(following), previous=query.reference(previous))

    def parameters(self) -> list[OpenApiParameter]:
        """Return the query parameters for ``@extend_schema(parameters=...)``."""
        return list_parameters(
            orderings=list(self.orderings),
            fields=list(self.fields),
            heavy=self.heavy,
            filters={name: declared.field for name, declared in self.filters.items()},
        )

    def _refuse_combination(self, ordering: str, filters: list[str]) -> None:
        """Raise a ``ValidationProblem`` for the ordering if the default one would work, otherwise for the last filter."""
        if self.served(self.default, filters):
            self._refuse("ordering", "unsupported", f"This ordering cannot be combined with {', '.join(filters)}.")
        self._refuse(filters[-1], "unsupported", f"This filter cannot be combined with {', '.join(filters[:-1])}.")

    def _fields(self, text: str | None) -> tuple[str, ...]:
        """Return the fields asked for, in their declared order; by default all but the heavy ones."""
        if text is None:
            return tuple(name for name in self.fields if name not in self.heavy)
        asked = set(text.split(","))
        unknown = sorted(asked - set(self.fields))
        if unknown:
            self._refuse("fields", "unknown", f"Unknown fields: {', '.join(unknown)[:200]}.")
        return tuple(name for name in self.fields if name in asked)

    def _cursor(self, text: str, query: ListQuery) -> Cursor:
        try:
            return cursor_decode(text, binding=query.binding, columns=self.columns[query.ordering])
        except BadCursor:
            detail = "This cursor was changed, or is of another list, ordering or filter. Use the next or previous of a page."
            return self._refuse("cursor", "invalid", detail)

    def _refuse(self, name: str, code: str, detail: str) -> Any:
        errors: list[FieldError] = [parameter_error(name, code, detail)]
        raise ValidationProblem(errors=errors)
