"""Bounded lists: keyset pages over a declared ordering, with projection and filters, in one query.

A page starts after a row, not after a number of rows: its cost does not grow with its depth, and rows inserted
or deleted meanwhile neither repeat nor hide others. Each list is declared once::

    NOTES = KeysetList(
        model=Note,
        orderings={"-created_at": ("-created_at", "-id"), "created_at": ("created_at", "id")},
        fields={"id": "id", "title": "title"},
        filters={"owner": CanonicalUUIDField()},
    )

with an index ``(*columns compared by filters, *columns of the ordering)`` for what it offers,
and a view reads it in two lines: ``query = NOTES.parse(request)`` and ``NOTES.read(query, queryset)``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.encoding import escape_uri_path
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request

from apps.practices.database.cursors import BadCursor, Cursor, cursor_decode, cursor_encode
from apps.practices.database.declarations import Projected, checked_columns, checked_names
from apps.practices.database.filters import Filter, FilterField, Matching, declared_filters
from apps.practices.database.indexes import index_serves
from apps.practices.database.matching import SCANNED_MAX, SORTED_MAX, MatchingFilters, searching, unindexed_condition
from apps.practices.database.scans import Scan, rows_fitting
from apps.practices.database.schema import LIMIT_DEFAULT, LIMIT_MAX, list_parameters
from apps.practices.errors import FieldError, ValidationProblem
from apps.practices.validation.fields import BoundedIntegerField
from apps.practices.validation.query import parameter_error, query_parameters

__all__ = ["LIMIT_DEFAULT", "LIMIT_MAX", "Filter", "KeysetList", "ListQuery", "Matching", "Page", "Projected"]


_Found = tuple[list[dict[str, Any]], int]  # rows, one more than a page has when there are more, and how many it has


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What one request asks of a list, read and checked.

    ``filters`` are the validated values of the filters given, ready for the selector; ``matching`` those of the ones
    declared as ``Matching``, which the list applies itself. ``key`` is the same for
    requests that ask the same, whatever the order of their parameters: the part of a cache key that varies.
    """

    path: str
    limit: int
    ordering: str
    fields: tuple[str, ...]
    filters: dict[str, Any]
    matching: dict[str, Any]
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
    ``filters``: name of a query parameter to the serializer field that reads it, for a column of that name that is compared
    with it; anything else is a ``Filter`` or a ``Matching``. ``scope``: columns that the selector always compares (owner).
    ``heavy``: names of fields with long texts, shown when ``?fields=`` asks for them; a page with them ends at PAGE_BYTES.

    Filters and orderings that no index serves together are refused (400): the model's indexes decide what may be combined.
    Raises ``ImproperlyConfigured`` when the declaration breaks a rule. System check ``database.E003`` demands an
    index for each ordering, and for each filter in the default ordering.
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
        """Read the query string; raise ``ValidationProblem`` (400) naming each parameter that is wrong."""
        values = query_parameters(request, self._parameters)
        fields = self._fields(values.get("fields"))
        ordering = values.get("ordering", self.default)
        limit = values.get("limit", LIMIT_DEFAULT)
        filters = {name: values[name] for name in sorted(self.filters) if name in values}
        asked = {name: request.GET[name] for name in filters}
        if not self.served(ordering, filters):
            self._refuse_combination(ordering, sorted(filters))
        binding = json.dumps([request.path, ordering, asked])
        differing = {
            **asked,
            **({"ordering": ordering} if ordering != self.default else {}),
            **({"limit": str(limit)} if limit != LIMIT_DEFAULT else {}),
            **({"fields": ",".join(fields)} if fields != self._fields(None) else {}),
        }
        parameters = dict(sorted(differing.items()))
        return ListQuery(
            path=escape_uri_path(request.path),
            limit=limit,
            ordering=ordering,
            fields=fields,
            filters={name: value for name, value in filters.items() if not isinstance(self.filters[name], Matching)},
            matching={name: value for name, value in filters.items() if isinstance(self.filters[name], Matching)},
            cursor=self._cursor(values.get("cursor"), binding=binding, ordering=ordering),
            parameters=parameters,
            binding=binding,
            key=urlencode({**parameters, "cursor": values.get("cursor", "")}),
        )

    def served(self, ordering: str, filters: Iterable[str]) -> bool:
        """Tell whether an index gives the rows that these filters leave in this order."""
        declared = [self.filters[name] for name in filters]
        return index_serves(
            self.model,
            ordering=self.orderings[ordering],
            equal={*self.scope, *(column for one in declared for column in one.equal)},
            ranges={one.range for one in declared if one.range},
        )

    def read(self, query: ListQuery, queryset: QuerySet[Any]) -> Page:
        """Read one page of ``queryset``, at most limit + 1 rows, of the columns asked for alone.

        That is one query; up to five with a filter that no ordered index serves (``matching`` says which).
        """
        scan = Scan.along(self.orderings[query.ordering], query.cursor)
        rows = self._present(queryset, scan)
        sought = MatchingFilters.of(self.filters, query.matching)
        if sought is None:
            found, end = self._found(query, scan, scan.ordered(scan.following(rows))), None
        else:
            with searching():
                found, end = self._matched(query, scan, rows, sought)
        return self._page(query, scan, *found, end=end)

    def _matched(
        self, query: ListQuery, scan: Scan, rows: QuerySet[Any], sought: MatchingFilters
    ) -> tuple[_Found, tuple[Any, ...] | None]:
        """Give the rows of a page that meet the condition, and where the scan stopped when it did not reach the end."""
        near, end = self._looked_through(scan, rows, sought.condition, SORTED_MAX)
        found, count = self._found(query, scan, near)
        if end is None or len(found) > count:
            return (found, count), end
        if (few := sought.few(rows)) is not None:
            matches = scan.ordered(scan.following(rows.filter(pk__in=few), sorted_=True), sorted_=True)
            return self._found(query, scan, matches), None
        far, end = self._looked_through(scan, rows, sought.condition, SCANNED_MAX)
        return self._found(query, scan, far), end

    def _found(self, query: ListQuery, scan: Scan, rows: QuerySet[Any]) -> _Found:
        """Read the columns asked for, and those of the order, of a row more than the page has; give its size, too."""
        wanted = dict.fromkeys(column for name in query.fields for column in self.fields[name].columns)
        heavy = [column for name in query.fields if name in self.heavy for column in self.fields[name].columns]
        count = rows_fitting(rows, columns=heavy, limit=query.limit) if heavy else query.limit
        return list(rows.values(*dict.fromkeys([*wanted, *scan.names]))[: count + 1]), count

    def first_matches(self, query: ListQuery, queryset: QuerySet[Any]) -> list[Any]:
        """Give the primary keys of the first rows that ``query`` matches, at most SORTED_MAX of them, in no order.

        They are all matches, or those among the first SCANNED_MAX rows.
        """
        scan = Scan.along(self.orderings[query.ordering], query.cursor)
        rows = self._present(queryset, scan)
        sought = MatchingFilters.of(self.filters, query.matching) or MatchingFilters([])
        with searching():
            ahead, _ = self._looked_through(scan, rows, sought.condition, SCANNED_MAX)
            near = list(ahead.values_list("pk", flat=True)[:SORTED_MAX])
            few = None if len(near) == SORTED_MAX else sought.few(rows)
        return near if few is None else few

    def _looked_through(
        self, scan: Scan, rows: QuerySet[Any], condition: Q, count: int
    ) -> tuple[QuerySet[Any], tuple[Any, ...] | None]:
        """Give the matches among the next ``count`` rows, and the position of the last of these when there may be more."""
        ahead = scan.ordered(scan.following(rows))
        end = ahead.values_list(*scan.names)[count - 1 : count].first()
        return (scan.until(ahead, end) if end else ahead).filter(unindexed_condition(condition)), end

    def _present(self, queryset: QuerySet[Any], scan: Scan) -> QuerySet[Any]:
        """Leave out the rows that have no place in the order."""
        return queryset.filter(**{f"{name}__isnull": False for name in scan.names if name in self.nonnull})

    def _page(
        self, query: ListQuery, scan: Scan, found: list[dict[str, Any]], count: int, *, end: tuple[Any, ...] | None
    ) -> Page:
        """Make the page of the rows found, one more than ``count`` when there are more; ``end``: looked at up to there."""
        more = len(found) > count
        found = found[:count]
        keys = [tuple(row[name] for name in scan.names) for row in found]
        onward = keys[-1] if more else end
        back = query.cursor is not None
        if scan.backward:
            found.reverse()
        ahead = Cursor(values=onward, backward=scan.backward) if onward else None
        behind = None
        if back and keys:
            behind = Cursor(values=keys[0], backward=not scan.backward)
        elif query.cursor is not None:  # an empty page leads back to where it came from, that row included
            behind = Cursor(values=query.cursor.values, backward=not scan.backward, inclusive=True)
        following, previous = (behind, ahead) if scan.backward else (ahead, behind)
        return Page(
            results=[{name: self.fields[name].value(row) for name in query.fields} for row in found],
            next=_reference(query, following),
            previous=_reference(query, previous),
        )

    def parameters(self) -> list[OpenApiParameter]:
        """Give the query parameters for ``@extend_schema(parameters=...)``."""
        return list_parameters(
            orderings=list(self.orderings),
            fields=list(self.fields),
            heavy=self.heavy,
            filters={name: declared.field for name, declared in self.filters.items()},
        )

    def _refuse_combination(self, ordering: str, filters: list[str]) -> None:
        """Say what cannot be asked for together: the ordering, when the default one can."""
        if self.served(self.default, filters):
            self._refuse("ordering", "unsupported", f"Not with {', '.join(filters)}: no index serves this order.")
        self._refuse(filters[-1], "unsupported", f"Not together with {', '.join(filters[:-1])}: no index serves both.")

    def _fields(self, text: str | None) -> tuple[str, ...]:
        """Give the fields asked for, in their declared order; all but the heavy ones when none is."""
        if text is None:
            return tuple(name for name in self.fields if name not in self.heavy)
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


def _reference(query: ListQuery, cursor: Cursor | None) -> str | None:
    """Give the path and query of the page at ``cursor``."""
    if cursor is None:
        return None
    return f"{query.path}?{urlencode({**query.parameters, 'cursor': cursor_encode(cursor, binding=query.binding)})}"
