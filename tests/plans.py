"""Query plans of PostgreSQL, and the parts of them that grow with the table."""

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import connection

from apps.practices.database.matching import SCANNED_MAX, SORTED_MAX

# An order over all authors serves one who wrote half of the rows, too: twice as many rows are visited.
SLACK = 10  # rows visited for each row wanted: rows of other states stand between those of an order
UNBOUNDED_SORT = "sorts a set without bound"
_KEYS = re.compile(r'"\."id" IN \(([^)]*)\)')


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The executed plan of one statement."""

    sql: str
    parameters: Sequence[Any] | None = None  # of a prepared statement
    root: dict[str, Any]

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Yield all nodes, the root first."""
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.get("Plans", [])

    def visited(self, table: str) -> int:
        """Count the rows of a table that were fetched, kept or not."""
        return sum(_fetched(node) for node in self.nodes() if node.get("Relation Name") == table)


def explained(sql: str, parameters: Sequence[Any] | None = None, *, sorting: bool = True) -> Plan:
    """Run a statement under EXPLAIN ANALYZE; without ``sorting``, in the best way that sorts nothing if there is one.

    With parameters it is run as prepared, with the plan that PostgreSQL makes for all values.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL enable_sort = {sorting}; SET LOCAL enable_incremental_sort = {sorting}")
        command = sql
        if parameters is not None:
            numbers = itertools.count(1)
            cursor.execute(f"PREPARE kept AS {re.sub('%s', lambda _: f'${next(numbers)}', sql)}")
            cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            places = f"({', '.join(['%s'] * len(parameters))})" if parameters else ""
            command = psycopg.ClientCursor(cursor.connection).mogrify(f"EXECUTE kept{places}", parameters)
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {command}")
        [(found,)] = cursor.fetchall()
        if parameters is not None:
            cursor.execute("DEALLOCATE kept; SET LOCAL plan_cache_mode = auto")
        cursor.execute("SET LOCAL enable_sort = on; SET LOCAL enable_incremental_sort = on")
    root = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return Plan(sql=sql, parameters=parameters, root=root)


def faults(plan: Plan, table: str, *, wanted: int) -> list[str]:
    """Return the parts of a plan that would grow with ``table``, for a statement that wants so many rows.

    PostgreSQL also sorts where an index gives the order, when it expects a handful of rows: such a plan is judged
    by the one that it would make without sorting.
    """
    found = _faults(plan, table, wanted=wanted)
    # Near the end of a table that was never vacuumed, as in a test, also for the position SCANNED_MAX rows on.
    handful = SCANNED_MAX * 3 if f"OFFSET {SCANNED_MAX - 1}" in plan.sql or "CASE WHEN" in plan.sql else SORTED_MAX
    if UNBOUNDED_SORT in found and all(came <= handful for _, came in _sorts(plan)):
        return _faults(explained(plan.sql, plan.parameters, sorting=False), table, wanted=wanted)
    return found


def _faults(plan: Plan, table: str, *, wanted: int) -> list[str]:
    scanned = [node for node in plan.nodes() if node["Node Type"] == "Seq Scan" and node.get("Relation Name") == table]
    found = [f"reads {table} from its start" for _ in scanned]
    if any(came > len(_keys(plan.sql)) or came > SORTED_MAX for _, came in _sorts(plan)):
        found.append(UNBOUNDED_SORT)
    bound = SCANNED_MAX * 3 if _bounded_by_matching(plan.sql) else wanted * SLACK
    if (visited := plan.visited(table)) > bound:
        found.append(f"visits {visited} rows of {table} for {wanted}")
    return found


def _fetched(node: dict[str, Any]) -> int:
    removed = sum(node.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck"))
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


def _bounded_by_matching(sql: str) -> bool:
    """Return whether a statement belongs to a list that matches words or tags: probe, look ahead, walk, page of few."""
    return (
        sql.startswith("WITH matching")
        or any(f"OFFSET {count - 1}" in sql for count in (SORTED_MAX, SCANNED_MAX))
        or "CASE WHEN" in sql
        or bool(_keys(sql))
    )


def _sorts(plan: Plan) -> list[tuple[dict[str, Any], float]]:
    """Return the sorts of a plan with their row counts. A statement that names its rows' keys bounds them."""
    nodes = [node for node in plan.nodes() if node["Node Type"] in ("Sort", "Incremental Sort")]
    return [(node, sum(child["Actual Rows"] * child["Actual Loops"] for child in node["Plans"])) for node in nodes]


def _keys(sql: str) -> list[str]:
    found = _KEYS.search(sql)
    return found[1].split(",") if found else []
