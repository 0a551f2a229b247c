"""System checks of the database practice."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from django.db import connections
from django.urls import get_resolver

from apps.practices.database.lists import KeysetList


@register("database")
def check_ctype(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """database.W001: PostgreSQL knows which characters are letters. Runs in migrate and check --database default."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT datname, datctype FROM pg_database WHERE datname = current_database()")
            name, ctype = cursor.fetchone()
        if ctype in ("C", "POSIX"):
            found.append(
                Warning(
                    f"The database {name!r} has LC_CTYPE {ctype}: full-text search treats typographic quotes, dashes and "
                    "other non-ASCII punctuation as letters, and does not find the words next to them.",
                    hint="Create a database with CREATE DATABASE … TEMPLATE template0 LC_CTYPE 'C.UTF-8' (or en_US.UTF-8) "
                    "and move the data there with pg_dump and pg_restore. For the database of bin/dev: stop bin/dev and "
                    "delete var/postgresql, which deletes its data.",
                    id="database.W001",
                )
            )
    return found


@register("database")
def check_orderings(**options: Any) -> list[CheckMessage]:
    """database.E003: each ordering of each list has an index, and so has each filter in the default ordering.

    Lists are declared next to views, so the views are imported first.
    """
    _ = get_resolver().url_patterns
    return [error for declared in KeysetList.declared for error in ordering_errors(declared)]


def ordering_errors(declared: KeysetList) -> list[CheckMessage]:
    """Return an error for each ordering, and each filter in the default ordering, without an index of the model."""
    asked = [(name, ()) for name in declared.orderings] + [(declared.default, (name,)) for name in declared.filters]
    return [
        Error(
            f"{declared.model._meta.label} has no index for the ordering {name!r}{_with(filters)}: {', '.join(columns)}.",
            hint=f"Add models.Index(fields={[*columns]!r}, name=...) to Meta.indexes.",
            id="database.E003",
        )
        for name, filters in asked
        if not declared.served(name, filters) and (columns := _index_wanted(declared, name, filters))
    ]


def _with(filters: Sequence[str]) -> str:
    return f" with the filter {filters[0]!r}" if filters else ""


def _index_wanted(declared: KeysetList, ordering: str, filters: Sequence[str]) -> list[str]:
    """Return the columns of the missing index."""
    equal = [*declared.scope, *(column for name in filters for column in declared.filters[name].equal)]
    return [*equal, *(column for column in declared.orderings[ordering] if column.lstrip("-") not in equal)]
