"""Measure the cost of a page at any depth of any list of the service, in tables of 10,000 to 1,000,000 rows.

    python -m tools.benchmarks.pages [--rows 10000 100000 1000000] [--path /api/v1/sample/notes] [--json]

Starts PostgreSQL and Valkey of its own, fills each list's table by SQL in a database for each size, and asks the list over
HTTP, in this process, for pages at its start, in its middle and at its end, in every order, nothing cached. It prints the
milliseconds of a page (this process's processor time and PostgreSQL's for the page's query, each the best of some tries; the
sizes and depths of an order take turns, so that other work on the machine disturbs all of them alike) and, in brackets, the
blocks of 8 KiB that PostgreSQL touched for it; and the worst of an order against its first page of the smallest table. No
filter: a search costs what it finds.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from tools.stack import Stack

DEPTHS = {"first": None, "middle": 0.5, "last": 0.9999}
ROUNDS = 100


@dataclass(kw_only=True)
class Size:
    """A database in which every list's table has so many rows, and a client who may read all of them."""

    rows: int
    connection: Any
    client: Any


@dataclass(kw_only=True)
class Page:
    """One page of one order of a list: what is asked for, and the least that it cost so far."""

    size: Size
    depth: str
    path: str
    asked: dict[str, str]
    computed: float = float("inf")
    queried: float = float("inf")
    blocks: int = 0


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--path", action="append", help="only this list; may be repeated")
    parser.add_argument("--json", action="store_true", help="print every figure, one JSON object a line")
    options = parser.parse_args()
    environment = os.environ
    with Stack.temporary() as stack:
        environment.update(stack.state.urls, DJANGO_SETTINGS_MODULE="settings.test")
        environment.pop("DJANGO_ENV", None)
        import django

        django.setup()
        found = list(measured([filled(rows) for rows in options.rows], options.path))
    for figure in found if options.json else []:
        print(json.dumps(figure))
    print("\n".join(table(found, options.rows)))
    return 0


def filled(rows: int) -> Size:
    """Create a database and fill each list's table with this many rows."""
    from django.core.management import call_command
    from django.db import connections, transaction
    from rest_framework.test import APIClient

    from apps.accounts.models import User
    from apps.practices.database.lists import KeysetList
    from tests.rows import fill, in_order, told_by
    from tests.test_plans import paths, says

    paths()  # loads the views, and the lists with them
    with connections["default"].cursor() as cursor:
        cursor.execute(f"CREATE DATABASE rows_{rows}")
    own = connections["default"].copy()
    own.settings_dict["NAME"] = f"rows_{rows}"
    connections["default"] = own
    call_command("migrate", verbosity=0)
    with transaction.atomic():
        with own.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0; SET CONSTRAINTS ALL IMMEDIATE")
        fill(User, rows, owner=None, told=told_by(says(User), "COLUMNS"))
        admin = User.objects.order_by("created_at")[0]
        User.objects.filter(pk=admin.pk).update(is_superuser=True, is_staff=True, is_active=True)
        admin.refresh_from_db()
        for model in in_order({declared.model for declared in KeysetList.declared} - {User}):
            fill(model, rows, owner=admin.pk, told=told_by(says(model), "COLUMNS"))
    client = APIClient()
    client.force_authenticate(admin)
    return Size(rows=rows, connection=own, client=client)


def measured(sizes: list[Size], only: list[str] | None) -> Iterator[dict]:
    """Return the cost of each page of each list."""
    from tests.test_plans import paths

    for path in paths():
        if only and path not in only:
            continue
        for ordering in read(sizes[0], path, {})[0].orderings:
            pages = [
                Page(size=size, depth=depth, path=path, asked=asked_for(size, path, ordering, share))
                for size, (depth, share) in product(sizes, DEPTHS.items())
            ]
            for page in pages * ROUNDS:
                compute(page)
            for page, sql in [(page, page_query(page)) for page in pages] * ROUNDS:
                query(page, sql)
            for page in pages:
                figure = {"path": path, "ordering": ordering, "depth": page.depth, "rows": page.size.rows}
                yield {**figure, "ms": round(page.computed + page.queried, 2), "blocks": page.blocks}


def read(size: Size, path: str, asked: dict[str, str]) -> tuple[Any, Any]:
    """Request an uncached page; return the list that answered and the query that it read."""
    from django.db import connections

    from apps.practices.database.lists import KeysetList
    from tests.caches import caches_clear

    noted: list[tuple[Any, Any]] = []
    reading = KeysetList.read
    connections["default"] = size.connection
    KeysetList.read = lambda self, query, *more, **values: (
        noted.append((self, query)),
        reading(self, query, *more, **values),
    )[1]
    try:
        caches_clear()
        answer = size.client.get(path, asked)
    finally:
        KeysetList.read = reading
    assert answer.status_code == 200, answer.content
    return noted[-1]


def asked_for(size: Size, path: str, ordering: str, share: float | None) -> dict[str, str]:
    """Return the query of the page that begins after this share of the rows, or of the first page for None."""
    from apps.practices.database.cursors import Cursor, cursor_encode

    declared, query = read(size, path, {"ordering": ordering})
    if share is None:
        return {"ordering": ordering}
    names = [column.lstrip("-") for column in declared.orderings[ordering]]
    given = declared.model.objects.filter(**{f"{name}__isnull": False for name in names})
    place = int(given.count() * share)
    values = given.order_by(*declared.orderings[ordering]).values_list(*names)[place - 26]
    return {"ordering": ordering, "cursor": cursor_encode(Cursor(values=values), binding=query.binding)}


def compute(page: Page) -> None:
    """Store this process's milliseconds of processor time for the uncached page if they are the fewest so far."""
    from django.db import connections

    from tests.caches import caches_clear

    connections["default"] = page.size.connection
    caches_clear()
    start = time.process_time()
    answer = page.size.client.get(page.path, page.asked)
    taken = (time.process_time() - start) * 1000
    assert answer.status_code == 200, answer.content
    page.computed = min(page.computed, taken)


def page_query(page: Page) -> str:
    """Return the page's own query, the one with a limit."""
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(page.size.connection) as queries:
        read(page.size, page.path, page.asked)
    return next(query["sql"] for query in queries.captured_queries if "LIMIT 26" in query["sql"])


def query(page: Page, sql: str) -> None:
    """Store PostgreSQL's milliseconds for the page's query if they are the fewest so far, and the blocks that it touched."""
    with page.size.connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {sql}")
        [(plan,)] = cursor.fetchall()
    plan = (json.loads(plan) if isinstance(plan, str) else plan)[0]
    page.queried = min(page.queried, plan["Planning Time"] + plan["Execution Time"])
    page.blocks = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]


def table(found: list[dict], sizes: list[int]) -> Iterator[str]:
    """Return the lines of the table: a row per list and order, a column per size and depth."""
    heads = [f"{rows:,} {depth}" for rows in sizes for depth in DEPTHS]
    yield f"| list | order | {' | '.join(heads)} | worst / first of fewest |"
    yield f"|---|---|{'---|' * len(heads)}---|"
    for path, ordering in dict.fromkeys((figure["path"], figure["ordering"]) for figure in found):
        row = [figure for figure in found if (figure["path"], figure["ordering"]) == (path, ordering)]
        cells = " | ".join(f"{figure['ms']:.1f} ({figure['blocks']})" for figure in row)
        yield f"| {path} | {ordering} | {cells} | {max(figure['ms'] for figure in row) / row[0]['ms']:.2f} |"


if __name__ == "__main__":
    sys.exit(main())
