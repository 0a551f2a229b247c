"""System checks of the database practice."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import connections
from django.db.models import F, Index, OrderBy
from django.urls import get_resolver

from apps.practices.database.lists import KeysetList


@register("database")
def check_vendor(app_configs: Sequence[AppConfig] | None = None, **options: Any) -> list[CheckMessage]:
    """database.E001: every database is PostgreSQL; the kit's queries, locks and timeouts are."""
    return [
        Error(
            f"The database {alias!r} is {connections[alias].vendor}, not PostgreSQL.",
            hint="Set DATABASE_URL to postgres://...",
            id="database.E001",
        )
        for alias in settings.DATABASES
        if connections[alias].vendor != "postgresql"
    ]


@register("database")
def check_pool(app_configs: Sequence[AppConfig] | None = None, **options: Any) -> list[CheckMessage]:
    """database.E002: a pooled connection is neither kept by Django besides nor waited for longer than a client waits."""
    return [
        Error(
            f"The pool of {alias!r} is not bounded: give it a max_size, a timeout of at most 3 s, and CONN_MAX_AGE = 0.",
            id="database.E002",
        )
        for alias, database in settings.DATABASES.items()
        if (pool := database.get("OPTIONS", {}).get("pool"))
        and not (
            isinstance(pool, dict)
            and pool.get("max_size")
            and pool.get("timeout", 30) <= 3
            and not database["CONN_MAX_AGE"]
        )
    ]


@register("database")
def check_orderings(app_configs: Sequence[AppConfig] | None = None, **options: Any) -> list[CheckMessage]:
    """database.E003: each ordering of each declared list has an index of the same columns.

    Lists are declared beside the views that read them, so the views are loaded first.
    """
    _ = get_resolver().url_patterns
    return [error for declared in KeysetList.declared for error in ordering_errors(declared)]


def ordering_errors(declared: KeysetList) -> list[CheckMessage]:
    """Give an error for each ordering of one list that no index of its model serves."""
    return [
        Error(
            f"No index of {declared.model._meta.label} serves the ordering {name!r}: {', '.join(columns)}.",
            hint=f"Add models.Index(fields={[*columns]!r}, name=...) to Meta.indexes.",
            id="database.E003",
        )
        for name, columns in declared.orderings.items()
        if not _served(declared, columns)
    ]


def _served(declared: KeysetList, columns: tuple[str, ...]) -> bool:
    """Tell whether an index has these columns, read forwards or backwards; the primary key has its own."""
    if len(columns) == 1:
        return True
    wanted = {columns, tuple(column[1:] if column.startswith("-") else f"-{column}" for column in columns)}
    return any(_index_columns(index) in wanted for index in declared.model._meta.indexes)


def _index_columns(index: Index) -> tuple[str, ...]:
    """Give an index's columns as an ordering writes them; expressions other than plain columns end the comparison."""
    if index.fields:
        return tuple(f"-{name}" if direction == "DESC" else name for name, direction in index.fields_orders)
    columns = []
    for expression in index.expressions:
        if not isinstance(expression, OrderBy) or not isinstance(expression.expression, F):
            return ()
        name = str(expression.expression.deconstruct()[1][0])
        columns.append(f"-{name}" if expression.descending else name)
    return tuple(columns)
