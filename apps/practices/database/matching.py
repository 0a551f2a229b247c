"""Rows that a search or a tag finds, in the list's order, without ever sorting or walking an unbounded set.

An index over words or array members finds rows in no order; an index in the list's order knows no words. So the next
SORTED_MAX rows of the order are looked at first: a common word fills a page from them. When it does not, PostgreSQL is asked
for at most SORTED_MAX + 1 matches. As long as these are all, they are sorted. When there are more, the next WALKED_MAX
rows of the order are looked at: where matches are rare among them, a page is shorter than asked for, even empty, and
still leads on. Each way gives the same rows in the same order.
"""

from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import BooleanField, Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Greatest

SORTED_MAX = 1_000
WALKED_MAX = 10_000


def few_matches(rows: QuerySet[Any], condition: Q) -> list[Any] | None:
    """Give the primary keys of all ``rows`` that meet the condition; None when they are more than SORTED_MAX.

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


def looked_at(condition: Q) -> Case:
    """Give the condition in a form that is computed row by row: PostgreSQL looks for no index inside a CASE."""
    return Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())


def unindexed(name: str) -> Greatest:
    """Give the column in a form that no index serves, so that a small set is sorted rather than a table walked for it."""
    return Greatest(F(name), F(name))
