"""How many rows of a page fit into its bytes: what a heavy column holds is measured by PostgreSQL before any of it is read."""

from collections.abc import Sequence
from functools import reduce
from itertools import accumulate
from operator import add
from typing import Any

from django.db.models import F, Func, IntegerField, QuerySet, TextField, Value
from django.db.models.functions import Cast, Coalesce

PAGE_BYTES = 1024**2  # of the heavy columns of a page; a row that is larger by itself is a page of its own


def rows_fitting(rows: QuerySet[Any], *, columns: Sequence[str], limit: int) -> int:
    """Return how many of the first ``limit`` rows have at most PAGE_BYTES in these columns together; one at least.

    PostgreSQL knows the length of a text without reading it.
    """
    sizes = [Coalesce(Func(Cast(F(name), TextField()), function="octet_length"), Value(0)) for name in columns]
    weight = reduce(add, sizes[1:], sizes[0])
    # An expression without a name: no model has a column of the one that Django gives it.
    weighed = rows.values_list(Cast(weight, IntegerField()), flat=True)[:limit]
    return max(1, sum(total <= PAGE_BYTES for total in accumulate(weighed)))
