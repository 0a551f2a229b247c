"""Searches and tags: matching rows in the list's order, with a bound on how many are sorted and scanned (ADR 0037).

An index of words or array members finds rows in no order, and an index in the list's order knows no words. So first the next
SORTED_MAX rows of the list are scanned: a common word fills a page with these. If it does not, PostgreSQL is asked for
SORTED_MAX + 1 matches. If there are fewer, they are sorted. If not, the next SCANNED_MAX rows of the list are scanned; the
page may then be shorter than asked for, even empty, and its ``next`` continues. All of these return the same rows in the
same order. For a phrase, at most SORTED_MAX rows with all of its words are read, since the index does not know their order.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import and_
from typing import Any

from django.conf import settings
from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import BooleanField, Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Greatest

from apps.practices.database.filters import Matching
from apps.practices.errors import Unavailable

SORTED_MAX = 1_000
SCANNED_MAX = 10_000


class TooManySearches(Unavailable, type="too-many-searches", title="Too many searches at once"):
    """The process has reached its limit of concurrent searches."""

    explanation = "The service has reached its limit of concurrent searches. Try again after the time in Retry-After."
    retry_after = 1


_running = threading.BoundedSemaphore(settings.DATABASE_SEARCHES)


@contextmanager
def searching() -> Iterator[None]:
    """Take one of the process's slots for searches. Raise ``TooManySearches`` if all are in use."""
    if not _running.acquire(blocking=False):
        raise TooManySearches()
    try:
        yield
    finally:
        _running.release()


class MatchingFilters:
    """The ``Matching`` filters of a request with their values, and the condition that they form together."""

    def __init__(self, given: Sequence[tuple[Matching, Any]]) -> None:
        self._given = given
        self.condition = reduce(and_, (declared.condition(value) for declared, value in given), Q())

    @classmethod
    def of(cls, filters: Mapping[str, Any], values: Mapping[str, Any]) -> "MatchingFilters | None":
        """Return those of a request, None if it has none."""
        given = [(one, values[name]) for name, one in filters.items() if isinstance(one, Matching) and name in values]
        return cls(given) if given else None

    def all_keys(self, rows: QuerySet[Any]) -> list[Any] | None:
        """Return the primary keys of all matches among ``rows``, None if more than SORTED_MAX rows would have to be read."""
        found_by = reduce(and_, ((one.found_by or one.condition)(value) for one, value in self._given))
        found = _keys_up_to_limit(rows, found_by) if found_by else None
        if not found or not any(one.found_by for one, _ in self._given):
            return found
        return list(
            rows.filter(unindexed_condition(self.condition), pk__in=found).order_by().values_list("pk", flat=True)
        )


def _keys_up_to_limit(rows: QuerySet[Any], condition: Q) -> list[Any] | None:
    """Return the primary keys of all ``rows`` that meet the condition, None if there are more than SORTED_MAX.

    MATERIALIZED makes PostgreSQL plan for all matches, and so use their index, but still stop at the limit. Planned with the
    limit, it could read the table from its start.
    """
    try:
        compiler = rows.filter(condition).order_by().values("pk").query.get_compiler(using=rows.db)
        sql, parameters = compiler.as_sql()
    except EmptyResultSet:
        return []
    with connections[rows.db].cursor() as cursor:
        # The ORM's own SQL, with its values as parameters.
        fenced = f"WITH matching AS MATERIALIZED ({sql}) SELECT * FROM matching LIMIT {SORTED_MAX + 1}"  # nosec B608 # noqa: S608 - see above
        cursor.execute(fenced, parameters)
        found = [key for (key,) in cursor.fetchall()]
    return found if len(found) <= SORTED_MAX else None


def unindexed_condition(condition: Q) -> Case:
    """Return the condition inside a CASE, for which PostgreSQL uses no index: it is computed for each row."""
    return Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())


def unindexed_column(name: str) -> Greatest:
    """Return the column inside an expression, for which there is no index: PostgreSQL sorts instead of scanning an index."""
    return Greatest(F(name), F(name))
