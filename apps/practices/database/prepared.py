"""SQL of hot reads: compiled by the ORM once, then executed with other values (ADR 0038).

The ORM takes longer to compile a SELECT than PostgreSQL to run it. A read of one row by its key is declared like this::

    @prepared
    def _note_row(*, note_id: UUID) -> QuerySet[Note, Any]:
        return Note.objects.filter(pk=note_id).values(*NOTE_FIELDS)

    row = _note_row.first(note_id=note_id)  # a dictionary, or None

``KeysetList.read`` does the same for a list if it is given the selector instead of its result.

To compile, the function is called twice: with the values of a request, and with marks in their place. If both give the same SQL,
and each mark is where its value is, the SQL is kept. Otherwise the ORM compiles each query as usual: if the function compares an
argument, changes it, or queries something, or if an argument is a list or an object.

The function may depend on its arguments only. Where settings.DATABASE_VERIFIES_PREPARED is on (development, tests), each use
compares the kept SQL with what the ORM compiles.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, NoReturn
from uuid import UUID

from django.conf import settings
from django.core.exceptions import EmptyResultSet
from django.db import connections, router
from django.db.models import Field, Model, QuerySet, Value
from django.db.models.expressions import Col
from django.db.models.sql import Query
from django.db.models.sql.where import WhereNode
from psycopg.types.numeric import Int4, Int8

from apps.practices.database.statements import PreparableSQL, execute_read

SHAPES = 512  # statements that a process keeps; the least recently used ones leave first
KEPT_FROM = 2  # the use at which a statement is compiled: many shapes are used once

Build = Callable[[Mapping[Any, Any]], QuerySet[Any, Any]]

_VARIABLE = frozenset({UUID, datetime, date, Decimal, str, int})  # types of values that differ between executions
_TIMES = frozenset({datetime, date})
_CONSTANT = (bool, str)  # types of values in the function itself; others may have been computed from the time
_INT4_MAX = 2**31 - 1


class ValueNeeded(Exception):
    """The function needs more than the place of an argument, so its SQL may depend on the value."""


class Mark(Value):
    """The place of an argument. In the list of parameters it appears as itself."""

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Return a placeholder, with the mark as its parameter."""
        return "%s", [self]

    def _refuse(self, *others: Any) -> NoReturn:
        raise ValueNeeded(self.value)

    def __eq__(self, other: object) -> bool:
        """Return False for the empty text, with which Django compares each value."""
        return False if other == "" else self._refuse(other)

    def __bool__(self) -> bool:
        """Return True: empty texts and zeros have no marks."""
        return True

    __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __hash__ = __str__ = __format__ = _refuse


class Statement:
    """The SELECT of one shape."""

    __slots__ = ("_bindings", "_kinds", "_model", "_uses", "names", "sql")

    def __init__(self, kinds: tuple[Any, ...] = ()) -> None:
        self.names: tuple[str, ...] = ()
        self.sql: str | None = None  # None: the ORM compiles it
        self._kinds = kinds  # of the values: a type, or the value itself
        self._uses = 0
        self._model: type[Model] = Model
        self._bindings: list[tuple[Any, Any]] = []  # (name of the value, its conversion), or (None, a constant)

    def rows(self, build: Build, values: Mapping[Any, Any], *, by_key: bool = False) -> Sequence[tuple[Any, ...]]:
        """Return the rows of the query that ``build`` makes of the values, as tuples in the order of ``names``.

        ``by_key``: few rows match, whatever the values, so one plan of PostgreSQL is right for all of them.
        """
        if self.sql is None:
            return self._learn(build, values, by_key)
        if settings.DATABASE_VERIFIES_PREPARED:
            self._verify(build, values)
        return _executed(router.db_for_read(self._model), self.sql, self._parameters(values))

    def _parameters(self, values: Mapping[Any, Any]) -> list[Any]:
        return [
            other if name is None else values[name] if other is None else other(values[name])
            for name, other in self._bindings
        ]

    def _learn(self, build: Build, values: Mapping[Any, Any], by_key: bool) -> Sequence[tuple[Any, ...]]:
        """Read the rows as the ORM does, and keep the SQL if this is the use for that."""
        queryset = build(values)
        self.names = tuple(queryset.query.selected or ())
        uses = self._uses = self._uses + 1
        if uses == KEPT_FROM:
            self._model = queryset.model
            self._keep(queryset, build, values, by_key)
        return list(queryset.values_list(*self.names))

    def _keep(self, queryset: QuerySet[Any, Any], build: Build, values: Mapping[Any, Any], by_key: bool) -> None:
        marks = {
            name: Mark(name) if kind in _VARIABLE else value
            for (name, value), kind in zip(values.items(), self._kinds, strict=True)
        }
        try:
            with connections[queryset.db].execute_wrapper(_refuse_query):
                marked = build(marks)
            if marked._db is not None or not _is_plain(marked.query.where):  # type: ignore[attr-defined]  # not in the stubs
                return
            (sql, given), (marked_sql, places) = _compiled(queryset), _compiled(marked)
        except Exception:  # noqa: BLE001 - the function does something else with an argument
            return
        if sql != marked_sql:
            return
        bindings = [_binding(place, value, values) for place, value in zip(places, given, strict=True)]
        if None not in bindings:
            self._bindings = [binding for binding in bindings if binding]
            self.sql = PreparableSQL(sql) if by_key or self._has_one_plan(values) else sql

    def _has_one_plan(self, values: Mapping[Any, Any]) -> bool:
        """Return whether only times and positions are compared.

        A filter needs a plan for each value: that of a rare one reads and sorts all its rows, which are too many of a common one.
        """
        kinds = zip(values, self._kinds, strict=True)
        return all(isinstance(name, int) or kind not in _VARIABLE or kind in _TIMES for name, kind in kinds)

    def _verify(self, build: Build, values: Mapping[Any, Any]) -> None:
        """Raise ``AssertionError`` if the ORM compiles another query of these values."""
        sql, parameters = _compiled(build(values))
        if (sql, parameters) != (self.sql, self._parameters(values)):
            raise AssertionError(
                f"This query of {self._model.__name__} depends on more than the arguments of its function. Pass what it depends "
                f"on as an argument.\nkept: {self.sql} {self._parameters(values)}\nnow: {sql} {parameters}"
            )


class Prepared:
    """A function that returns ``.values(…)``, whose SQL is kept. Made by ``prepared``."""

    def __init__(self, function: Callable[..., QuerySet[Any, Any]]) -> None:
        self._function = function

    def first(self, **arguments: Any) -> dict[str, Any] | None:
        """Return the first row as a dictionary, or None."""
        statement = statement_for(self, arguments)
        rows = statement.rows(lambda values: self._function(**values), arguments, by_key=True)
        return dict(zip(statement.names, rows[0], strict=True)) if rows else None


def prepared(function: Callable[..., QuerySet[Any, Any]]) -> Prepared:
    """Keep the SQL of a function with keyword arguments that returns the ``.values(…)`` of the row with a key."""
    return Prepared(function)


def statement_for(shape: Any, values: Mapping[Any, Any], literals: frozenset[str] = frozenset()) -> Statement:
    """Return the statement of a shape for values of these types.

    None, booleans, members of an Enum, zeros and empty texts belong to the shape, and so do the values named in ``literals``.
    """
    kinds = []
    for name, value in values.items():
        kind = type(value)
        if kind is int and not -_INT4_MAX <= value <= _INT4_MAX:
            return Statement()  # the ORM knows which column can have such a value
        if kind in _VARIABLE and value and name not in literals:
            kinds.append(kind)
        elif value is None or kind in _VARIABLE or kind is bool or isinstance(value, Enum):
            kinds.append(value)
        else:
            return Statement()
    return _statement(shape, tuple(values), tuple(kinds))


@lru_cache(maxsize=SHAPES)
def _statement(shape: Any, names: tuple[Any, ...], kinds: tuple[Any, ...]) -> Statement:
    return Statement(kinds)


def _compiled(queryset: QuerySet[Any, Any]) -> tuple[str, list[Any]]:
    """Return SQL and parameters. Raise ``ValueNeeded`` if the ORM would convert the rows, or not ask at all."""
    compiler = queryset.query.get_compiler(using=queryset.db)
    try:
        sql, parameters = compiler.as_sql()
    except EmptyResultSet as error:
        raise ValueNeeded("no rows") from error
    if compiler.get_converters([column for column, *_ in compiler.select[: compiler.col_count]]):
        raise ValueNeeded("converted columns")
    return sql, list(parameters)


def _binding(place: Any, value: Any, values: Mapping[Any, Any]) -> tuple[Any, Any] | None:
    """Return what a parameter is made of, None if that cannot be known."""
    if isinstance(place, Mark):
        given, kind = values[place.value], type(value)
        if value == given and (kind is type(given) or kind in (Int4, Int8)):
            return place.value, None if kind is type(given) else kind
    elif isinstance(value, _CONSTANT) and place == value:
        return None, value
    return None


def _is_plain(where: Any) -> bool:
    """Return whether the conditions compare only columns of Django's own types, which send a value as it is."""
    return all(
        _is_plain(child) if isinstance(child, WhereNode) else all(map(_is_plain_part, child.flatten()))
        for child in where.children
    )


def _is_plain_part(part: Any) -> bool:
    if not isinstance(part, Col):
        return not isinstance(part, Query)  # a subquery, which has conditions of its own
    field: Field[Any, Any] = part.target
    while field.remote_field:
        field = field.target_field  # type: ignore[attr-defined]  # of foreign keys
    methods = (type(field).get_prep_value, type(field).get_db_prep_value)
    return all(method.__module__.startswith("django.") for method in methods)


def _refuse_query(*arguments: Any) -> NoReturn:
    raise ValueNeeded("a query")


def _executed(alias: str, sql: str, parameters: list[Any]) -> Sequence[tuple[Any, ...]]:
    connection = connections[alias]
    if (rows := connection.rows_read(sql, parameters)) is not None:  # type: ignore[attr-defined]  # of our backend
        return rows
    with connection.cursor() as cursor:
        if connection.autocommit:
            return execute_read(cursor, sql, parameters).fetchall()
        cursor.execute(str(sql), parameters)  # a failure in a transaction could not be repeated
        return cursor.fetchall()
