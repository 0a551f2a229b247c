"""Rows that a search or a tag finds, in the list's order, without ever sorting or walking an unbounded set.

An index over words or array members finds rows in no order; an index in the list's order knows no words. So the next
SORTED_MAX rows of the order are looked at first: a common word fills a page from them. When it does not, PostgreSQL is asked
for at most SORTED_MAX + 1 matches. As long as these are all, they are sorted. When there are more, the next SCANNED_MAX
rows of the order are looked at: where matches are rare among them, a page is shorter than asked for, even empty, and
still leads on. Each way gives the same rows in the same order. An index knows the words of a phrase, not their order: at most
SORTED_MAX rows with all of its words are read for it.
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


class TooManySearches(Unavailable):
    """As many searches run in this process as may."""

    status = 503
    type = "too-many-searches"
    title = "Too many searches at once"
    explanation = (
        "The service is answering as many searches as it can at a time. Try again after the time in Retry-After."
    )
    retry_after = 1


_running = threading.BoundedSemaphore(settings.DATABASE_SEARCHES)


@contextmanager
def searching() -> Iterator[None]:
    """Hold one of the process's places for searches, which leaves threads for others; raise `TooManySearches` without one."""
    if not _running.acquire(blocking=False):
        raise TooManySearches()
    try:
        yield
    finally:
        _running.release()


class MatchingFilters:
    """What the ``Matching`` filters of a request amount to."""

    def __init__(self, given: Sequence[tuple[Matching, Any]]) -> None:
        self._given = given
        self.condition = reduce(and_, (declared.condition(value) for declared, value in given), Q())

    @classmethod
    def of(cls, filters: Mapping[str, Any], values: Mapping[str, Any]) -> "MatchingFilters | None":
        """Return what is sought; None when no such filter is given."""
        given = [(one, values[name]) for name, one in filters.items() if isinstance(one, Matching) and name in values]
        return cls(given) if given else None

    def few(self, rows: QuerySet[Any]) -> list[Any] | None:
        """Return the primary keys of all ``rows`` that are sought, or None when that means to look at more than SORTED_MAX."""
        found_by = reduce(and_, ((one.found_by or one.condition)(value) for one, value in self._given))
        found = _few(rows, found_by) if found_by else None
        if not found or not any(one.found_by for one, _ in self._given):
            return found
        return list(
            rows.filter(unindexed_condition(self.condition), pk__in=found).order_by().values_list("pk", flat=True)
        )


def _few(rows: QuerySet[Any], condition: Q) -> list[Any] | None:
    """Return the primary keys of all ``rows`` that meet the condition; None when they are more than SORTED_MAX.

    The fence (MATERIALIZED) has PostgreSQL plan for all matches, hence by their index, and stop at the limit all
    the same: planned for the limit alone, it may read the table from its start.
    """
    try:
        compiler = rows.filter(condition).order_by().values("pk").query.get_compiler(using=rows.db)
        sql, parameters = compiler.as_sql()
    except EmptyResultSet:
        return []
    with connections[rows.db].cursor() as cursor:
        # S608 is about text of strangers: this is the ORM's own SQL, its values beside it.
        fenced = f"WITH matching AS MATERIALIZED ({sql}) SELECT * FROM matching LIMIT {SORTED_MAX + 1}"  # nosec B608 # noqa: S608 - see above
        cursor.execute(fenced, parameters)
        found = [key for (key,) in cursor.fetchall()]
    return found if len(found) <= SORTED_MAX else None


def unindexed_condition(condition: Q) -> Case:
    """Give the condition in a form that is computed row by row: PostgreSQL looks for no index inside a CASE."""
    return Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())


def unindexed_column(name: str) -> Greatest:
    """Give the column in a form that no index serves, so that a small set is sorted rather than a table walked for it."""
    return Greatest(F(name), F(name))
