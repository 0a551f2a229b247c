"""What a page costs at any depth of any list of the service, over tables of 10,000 to 1,000,000 rows.

    python -m benchmarks.pages [--rows 10000 100000 1000000] [--path /api/v1/sample/notes] [--json]

Starts PostgreSQL and Valkey of its own, fills each list's table by SQL, and asks the list over HTTP, in this process, for
pages at its start, in its middle and at its end, in every order, nothing cached. It prints the milliseconds of a page (this
process's processor time and PostgreSQL's for the page's query, each the best of some tries, which other work on the machine
disturbs least) and, in brackets, the blocks of 8 KiB that PostgreSQL touched for it; and the worst of an order against
its first page of the smallest table. No filter: a search costs what it finds.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import product

from apps.operations.stack import Stack

DEPTHS = {"first": None, "middle": 0.5, "last": 0.9999}
ROUNDS = 40


def main() -> int:
    """Measure, and print a table."""
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
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        found = [figure for rows in options.rows for figure in measured(rows, options.path)]
    for figure in found if options.json else []:
        print(json.dumps(figure))
    print("\n".join(table(found, options.rows)))
    return 0


def measured(rows: int, only: list[str] | None) -> Iterator[dict]:
    """Fill every list's table with so many rows, and give the cost of each page."""
    from django.db import connection, transaction
    from rest_framework.test import APIClient

    from apps.accounts.models import User
    from apps.practices.database.cursors import Cursor, cursor_encode
    from apps.practices.database.lists import KeysetList
    from tests.rows import empty, fill, told_by
    from tests.test_plans import paths, says

    wanted = [path for path in paths() if not only or path in only]
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0; SET CONSTRAINTS ALL IMMEDIATE")
        models = sorted({declared.model for declared in KeysetList.declared}, key=lambda model: model is not User)
        empty(*models)
        fill(User, rows, owner=None, told={})
        keeper = User.objects.order_by("created_at")[0]
        User.objects.filter(pk=keeper.pk).update(is_superuser=True, is_staff=True, is_active=True)
        keeper.refresh_from_db()
        client = APIClient()
        client.force_authenticate(keeper)
        for model in models[1:]:
            fill(model, rows, owner=keeper.pk, told=told_by(says(model), "COLUMNS"))
        noted = []
        read = KeysetList.read
        KeysetList.read = lambda self, query, queryset: (noted.append((self, query)), read(self, query, queryset))[1]
        try:
            for path in wanted:
                client.get(path)
                declared = noted[-1][0]
                for ordering, (depth, share) in product(declared.orderings, DEPTHS.items()):
                    client.get(path, {"ordering": ordering})
                    asked = {"ordering": ordering}
                    if share is not None:
                        names = [column.lstrip("-") for column in declared.orderings[ordering]]
                        given = declared.model.objects.filter(**{f"{name}__isnull": False for name in names})
                        place = int(given.count() * share)
                        values = given.order_by(*declared.orderings[ordering]).values_list(*names)[place - 26]
                        asked["cursor"] = cursor_encode(Cursor(values=values), binding=noted[-1][1].binding)
                    figure = {"path": path, "ordering": ordering, "depth": depth, "rows": rows}
                    server, touched = queried(client, path, asked)
                    yield {**figure, "ms": round(computed(client, path, asked) + server, 2), "blocks": touched}
        finally:
            KeysetList.read = read
        transaction.set_rollback(True)


def computed(client, path: str, asked: dict[str, str]) -> float:
    """Give the milliseconds of processor time that this process takes for one page, uncached: the best of ROUNDS."""
    from apps.practices.caching.testing import caches_forget

    taken = []
    for _ in range(ROUNDS):
        caches_forget()
        start = time.process_time()
        answer = client.get(path, asked)
        taken.append((time.process_time() - start) * 1000)
        assert answer.status_code == 200, answer.content
    return min(taken)


def queried(client, path: str, asked: dict[str, str]) -> tuple[float, int]:
    """Give PostgreSQL's milliseconds for the page's own query, the one with a limit (best of ROUNDS), and the blocks touched."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from apps.practices.caching.testing import caches_forget

    caches_forget()
    with CaptureQueriesContext(connection) as queries:
        client.get(path, asked)
    page = next(query["sql"] for query in queries.captured_queries if "LIMIT 26" in query["sql"])
    with connection.cursor() as cursor:
        plans = []
        for _ in range(ROUNDS):
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {page}")
            [(plan,)] = cursor.fetchall()
            plans.append((json.loads(plan) if isinstance(plan, str) else plan)[0])
    root = plans[-1]["Plan"]
    taken = min(plan["Planning Time"] + plan["Execution Time"] for plan in plans)
    return taken, root["Shared Hit Blocks"] + root["Shared Read Blocks"]


def table(found: list[dict], sizes: list[int]) -> Iterator[str]:
    """Give the lines of the table: a list and an order a line, a size and a depth a column."""
    heads = [f"{rows:,} {depth}" for rows in sizes for depth in DEPTHS]
    yield f"| list | order | {' | '.join(heads)} | worst / first of fewest |"
    yield f"|---|---|{'---|' * len(heads)}---|"
    for path, ordering in dict.fromkeys((figure["path"], figure["ordering"]) for figure in found):
        row = [figure for figure in found if (figure["path"], figure["ordering"]) == (path, ordering)]
        cells = " | ".join(f"{figure['ms']:.1f} ({figure['blocks']})" for figure in row)
        yield f"| {path} | {ordering} | {cells} | {max(figure['ms'] for figure in row) / row[0]['ms']:.2f} |"


if __name__ == "__main__":
    sys.exit(main())
