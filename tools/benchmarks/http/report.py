"""Figures as a table, and as the part of docs/performance.md that is replaced, with its charts."""

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from django.template import Context, Engine

from tools.fleet import ROOT

PAGE = ROOT / "docs/performance.md"
CHARTS = ROOT / "docs/performance"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
_TEMPLATE = Path(__file__).with_name("bars.svg")
_PACKAGES = ("django", "djangorestframework", "psycopg", "redis", "gunicorn", "granian")
_COLOURS = ("#1f5fa8", "#d9822b", "#5b8c5a", "#8a5a9e", "#b0413e", "#3b8f93", "#8f7a2f", "#6b7280")
_WIDTH, _LEFT, _ROW = 860, 230, 30  # pixels
BUSY = 0.5  # the load beside a run that makes its figures no more than a smoke test


def machine() -> dict[str, Any]:
    """Return what the figures depend on: the machine, its load before the run, versions, the commit."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - the git of whoever works on the project
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "taken_at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": commit.stdout.strip(),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def table(run: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the Markdown table of the works."""
    if not run["works"]:
        return
    yield (
        "| work | server | requests/s | p50 ms | p99 ms | CPU µs: web | PostgreSQL | Redis | queries | statements | Redis trips "
        "| MiB a web process |"
    )
    yield f"|---|---|{'---:|' * 10}"
    for work in run["works"]:
        cpu = work["cpu_us"]
        cells = [
            f"{work['requests_per_second']:,.0f}",
            f"{work['p50_ms']:.1f}",
            f"{work['p99_ms']:.1f}",
            *(f"{cpu[kind]:,.0f}" for kind in ("web", "postgresql", "redis")),
            *(f"{work[name]:.1f}" for name in ("queries", "statements", "redis_trips")),
            f"{work['memory_mib']['web']:.0f}",
        ]
        yield f"| {work['name']} | {work['server']} | {' | '.join(cells)} |"


def costs_table(run: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the Markdown table of what each feature adds to a request."""
    if not run["costs"]:
        return
    names = list(run["costs"])
    yield f"| feature | {' | '.join(f'{name}: µs | calls' for name in names)} |"
    yield f"|---|{'---:|---:|' * len(names)}"
    for feature in run["costs"][names[0]]:
        cells = [f"{cost[feature][part]:,.0f}" for cost in run["costs"].values() for part in ("us", "calls")]
        yield f"| {feature} | {' | '.join(cells)} |"


def profile_lines(profile: dict[str, Any], most: int = 15) -> Iterator[str]:
    """Yield the lines that tell where the time of a request goes."""
    yield ""
    yield (
        f"{profile['name']} ({profile['what']}): {profile['request_us']:,.0f} µs of processor time, "
        f"{profile['calls']:,.0f} calls, round trips: PostgreSQL {profile['postgresql_trips']:.1f}, "
        f"Redis {profile['redis_trips']:.1f} (best batch {profile['best_us']:,.0f} µs; {profile['samples']} samples)"
    )
    yield f"{'layer':<22}{'µs':>8}{'calls':>8}"
    for layer, spent in profile["layers_us"].items():
        yield f"{layer:<22}{spent:>8,.0f}{profile['calls_by_layer'].get(layer, 0):>8,.0f}"
    for title, name in (("in its own code", "own_us"), ("with what it calls", "inclusive_us")):
        yield f"µs {title}"
        for function, spent in list(profile[name].items())[: most if name == "own_us" else most * 2]:
            yield f"{spent:>8,.0f}  {function}"


def docs_write(run: dict[str, Any]) -> None:
    """Replace the measured part of the page, and draw its charts again."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + BEGIN + "\n".join(_part(run)) + "\n" + END + after)
    CHARTS.mkdir(exist_ok=True)
    labels = [_label(work) for work in run["works"]]
    throughput = [
        (label, {"requests": work["requests_per_second"]}) for label, work in zip(labels, run["works"], strict=True)
    ]
    cpu = [(label, work["cpu_us"]) for label, work in zip(labels, run["works"], strict=True)]
    (CHARTS / "throughput.svg").write_text(chart("Requests a second", throughput))
    (CHARTS / "cpu.svg").write_text(chart("Microseconds of processor time a request", cpu))
    for profile in run["profiles"]:
        layers = [(layer, {"µs": spent}) for layer, spent in profile["layers_us"].items()]
        title = f"{profile['name']}: {profile['request_us']:,.0f} µs by layer, in the web process"
        (CHARTS / f"profile-{profile['name']}.svg").write_text(chart(title, layers))


def chart(title: str, rows: list[tuple[str, dict[str, float]]]) -> str:
    """Return an SVG of horizontal bars; the parts of a row are laid end to end."""
    largest = max((sum(parts.values()) for _, parts in rows), default=0) or 1
    scale = (_WIDTH - _LEFT - 90) / largest
    names = list(dict.fromkeys(name for _, parts in rows for name in parts))
    bars = []
    for number, (label, parts) in enumerate(rows):
        left, segments = float(_LEFT), []
        for name, value in parts.items():
            width = max(value, 0) * scale
            segments.append(
                {"x": round(left, 1), "width": round(width, 1), "colour": _colour(names, name), "name": name}
                | {"value": f"{value:,.0f}"}
            )
            left += width
        bars.append(
            {
                "y": 50 + number * _ROW,
                "label": label,
                "segments": segments,
                "end": round(left + 6, 1),
                "total": f"{sum(parts.values()):,.0f}",
            }
        )
    legend = [
        {"x": _LEFT + number * 120, "name": name, "colour": _colour(names, name)} for number, name in enumerate(names)
    ]
    context = {
        "title": title,
        "width": _WIDTH,
        "height": 60 + len(rows) * _ROW,
        "bars": bars,
        "legend": legend if len(names) > 1 else [],
        "left": _LEFT - 10,
    }
    return Engine().from_string(_TEMPLATE.read_text()).render(Context(context, use_l10n=False))


def _label(work: dict[str, Any]) -> str:
    return work["name"] if work["server"] == "gunicorn" else f"{work['name']}, {work['server']}"


def _colour(names: list[str], name: str) -> str:
    return _COLOURS[names.index(name) % len(_COLOURS)]


def _part(run: dict[str, Any]) -> Iterator[str]:
    facts, data, client = run["machine"], run["data"], run["client"]
    busy = facts["load_before"] > BUSY or client["seconds"] < 5
    if busy:
        yield "**A smoke run**: short, or on a machine with other work. Do not quote its figures."
        yield ""
    versions = [f"{name} {facts[name]}" for name in ("python", *_PACKAGES)]
    versions += [f"{name} (server) {number}" for name, number in facts.get("servers", {}).items()]
    yield (
        f"{facts['taken_at']}, commit {facts['commit']}. {facts['cores']} cores ({facts['cpu']}), {facts['memory_gib']} GiB, "
        f"load {facts['load_before']:.1f} before and {facts['load_after']:.1f} after. {', '.join(versions)}. "
        f"{data['users']:,} users, {data['rows']:,} rows in {data['public_list'] or 'no public list'}; "
        f"{client['web_processes']} web processes, {client['connections']} connections, {client['seconds']:g} s a work."
    )
    yield ""
    yield from table(run)
    yield ""
    yield "![Requests a second](performance/throughput.svg)"
    yield ""
    yield "![Processor time a request, by kind of process](performance/cpu.svg)"
    if run["costs"]:
        yield ""
        yield "What each feature adds to a request (`--costs`), in processor time and Python calls of the application:"
        yield ""
        yield from costs_table(run)
    for profile in run["profiles"]:
        yield ""
        yield (
            f"`--profile {profile['name']}`: {profile['request_us']:,.0f} µs, {profile['calls']:,.0f} Python calls, round trips: "
            f"PostgreSQL {profile['postgresql_trips']:.1f}, Redis {profile['redis_trips']:.1f}."
        )
        yield ""
        yield f"![{profile['name']}: microseconds by layer](performance/profile-{profile['name']}.svg)"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
