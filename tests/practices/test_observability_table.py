"""observability: the tables of docs/observability.md and docs/jobs.md have every metric of the code, with its labels."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from apps.practices.mechanisms import metrics, metrics_process, metrics_store
from apps.practices.observability import exposition
from tests.processes import ROOT

Table = dict[str, frozenset[str]]
OF_PROCESSES = {"host", "pid", "role"}


def test_tables_have_every_metric() -> None:
    jobs = {f"shipshape_{name}": labels for name, labels in _rows("jobs.md", "| metric (", "The first").items()}
    counted = _rows("observability.md", "| metric | labels |", "Every process that is alive")
    documented = counted | jobs
    assert documented == {**_counters(), **_durations(), **_gauges(), "shipshape_metrics_scope": frozenset({"scope"})}


def test_table_has_every_number_of_a_process(db: None) -> None:
    documented = _rows("observability.md", "| metric | more labels |", "| mode of")
    metrics_store.process_write(metrics_process.Heart().beat())
    text = exposition.exposition()[0].decode()
    found: Table = {}
    for name, labels in re.findall(r"^(\w+)\{(.*pid=.*)\} ", text, re.MULTILINE):
        found[name] = frozenset(re.findall(r'(\w+)="', labels)) - OF_PROCESSES
    assert found.items() <= documented.items()
    pool = {name for name in documented if name.startswith("db_client_connection")}  # which this process may not have
    assert documented.keys() - found.keys() <= pool
    undocumented = exposition._TEXTS.keys() - {name.removesuffix("_total") for name in documented}
    assert not undocumented


def test_table_has_every_fallback() -> None:
    modes = {words["mode"] for name, words in _calls("count") if name == "degraded"}
    assert _rows("observability.md", "| mode of", "## When").keys() == modes


@cache
def metrics_known() -> set[str]:
    """Return the names of all metrics, histograms without a suffix."""
    processes = {f"{name}_total" if name.endswith("_cpu_seconds") else name for name in exposition._TEXTS}
    return {*_counters(), *_durations(), *_gauges(), *processes, "shipshape_metrics_scope"}


def _rows(page: str, first: str, end: str) -> Table:
    text = (ROOT / "docs" / page).read_text().partition(first)[2].partition(end)[0]
    rows = re.findall(r"^\| `([a-z_]+)` \| ([^|]*)\|", text, re.MULTILINE)
    return {name: frozenset(re.findall(r"[a-z_]+", labels)) for name, labels in rows}


def _counters() -> Table:
    of_roles = dict.fromkeys(("process_cpu_seconds", "process_memory_byte_seconds"), frozenset({"role"}))
    of_routes = dict.fromkeys(
        ("request_queries", "request_query_seconds"), frozenset({"http_request_method", "http_route"})
    )
    found = {**{name: frozenset(labels) for name, labels in _calls("count")}, **of_roles, **of_routes}
    return {f"shipshape_{name}_total": labels for name, labels in found.items()}


def _durations() -> Table:
    return {name: frozenset(one.labels) for name, one in metrics._durations.items()}


def _gauges() -> Table:
    return {f"shipshape_{name}": frozenset(words.get("labels", ())) for name, words in _calls("gauge")}


def _calls(function: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the first argument and the named ones of every call in the service's code whose first argument is a literal."""
    for path in (path for folder in ("apps", "project") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=found), args=[ast.Constant(value=str(name)), *_]):
                    pass
                case ast.Call(
                    func=ast.Name(id="partial"), args=[ast.Name(id=found), ast.Constant(value=str(name)), *_]
                ):
                    pass
                case _:
                    continue
            if found == function and "management" not in path.parts:
                yield name, {word.arg or "": _value(word.value) for word in node.keywords}


def _value(node: ast.expr) -> Any:
    """Return a literal's value; None for any other expression."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
