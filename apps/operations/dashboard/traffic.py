"""Sections of the page about requests: their speed, the processes that answer them, the cache, and the limits."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from apps.accounts.models import User
from apps.operations.dashboard.plots import UNKNOWN, figure, measure, moment
from apps.operations.dashboard.sections import (
    MIB,
    Choice,
    Column,
    Plots,
    Points,
    Section,
    Table,
    columns,
    lasting,
    ms,
    percent,
    quantile_lines,
)
from apps.practices.mechanisms.metrics import REQUESTS
from apps.practices.mechanisms.metrics_process import CORES, MEMORY, series_read
from apps.practices.observability.history import History, Route

MOST_ROUTES = 100
_SORTS: dict[str, tuple[str, Callable[[Route], Any]]] = {
    "route": ("Route", lambda route: (route.route, route.method)),
    "requests": ("Requests", lambda route: route.requests),
    "errors": ("Errors", lambda route: route.errors),
    "p50": ("p50 ms", lambda route: route.p50 or 0),
    "p95": ("p95 ms", lambda route: route.p95 or 0),
    "p99": ("p99 ms", lambda route: route.p99 or 0),
    "queries": ("Statements each", lambda route: _each(route, route.queries)),
    "database": ("PostgreSQL ms", lambda route: _each(route, route.query_seconds)),
    "slowest": ("Slowest ms", lambda route: route.slowest.seconds if route.slowest else 0),
}


def _each(route: Route, amount: float) -> float:
    return amount / route.requests if route.requests else 0.0


def requests_section(history: History, choice: Choice) -> Section:
    """Return the rate, the share of errors and the durations of requests, overall and by route."""
    plots, classes = Plots(history), history.requests_by_class()
    whole = [sum(step) for step in zip(*classes.values(), strict=True)] or [0.0] * len(history.times)
    failed = classes.get("5xx", [0.0] * len(history.times))
    shares: Points = [part / all_of * 100 if all_of else None for part, all_of in zip(failed, whole, strict=True)]
    durations = history.histogram(REQUESTS)
    p50, p95, p99 = durations.quantiles()
    return Section(
        key="requests",
        title="Requests",
        figures={
            "Requests": figure(sum(whole)),
            "A second": figure(sum(whole) / sum(history.seconds)),
            "Errors (5xx)": percent(sum(failed), sum(whole)),
            "p50": f"{ms(p50)} ms",
            "p95": f"{ms(p95)} ms",
            "p99": f"{ms(p99)} ms",
        },
        plots=[
            *plots("rate", "Requests by status", "a second", {name: plots.rates(row) for name, row in classes.items()}),
            *plots("errors", "Share of errors", "% of requests with a 5xx status", {"5xx": shares}),
            *plots("durations", "Duration", "ms", quantile_lines(durations)),
        ],
        tables=[_routes(history, choice), _slowest(history)],
    )


def _routes(history: History, choice: Choice) -> Table:
    name, is_down = choice.sort.removeprefix("-"), choice.sort.startswith("-")
    if name not in _SORTS:
        name, is_down = "requests", True
    routes = sorted(history.routes(), key=_SORTS[name][1], reverse=is_down)
    heads = [
        Column(
            title=f"{title} {'▼' if is_down else '▲'}" if key == name else title,
            is_number=key != "route",
            href=choice.link(sort=key if (key == name and is_down) or (key == "route" != name) else f"-{key}"),
            is_sorted=key == name,
        )
        for key, (title, _) in _SORTS.items()
    ]
    rows = [
        (
            f"{route.method} {route.route}",
            figure(route.requests),
            figure(route.errors),
            ms(route.p50),
            ms(route.p95),
            ms(route.p99),
            measure(_each(route, route.queries)),
            ms(_each(route, route.query_seconds)),
            ms(route.slowest.seconds if route.slowest else None),
        )
        for route in routes[:MOST_ROUTES]
    ]
    left = f"{len(routes) - MOST_ROUTES} further routes are left out." if len(routes) > MOST_ROUTES else ""
    return Table(caption="By route", columns=heads, rows=rows, empty="No request in this time.", note=left)


def _slowest(history: History) -> Table:
    rows = [
        (f"{slow.method} {route}", ms(slow.seconds), str(slow.status), moment(slow.at), slow.request_id)
        for route, slow in history.slowest(10)
    ]
    heads = [*columns("Request", "ms", "Status", "UTC"), Column(title="Request id", is_number=False)]
    note = "The id is in the access line and in every other line of the request." if rows else ""
    return Table(caption="Slowest requests", columns=heads, rows=rows, empty="No request in this time.", note=note)


def processes_section(history: History) -> Section:
    """Return processor time and memory, by role and by process, and which releases run."""
    plots, now = Plots(history), time.time()
    memory = history.by("shipshape_process_memory_byte_seconds_total", "role")
    rows = [
        (
            f"{process.role} {process.host}/{process.pid}",
            process.release or UNKNOWN,
            lasting(now - process.started),
            figure(process.gauges.get(CORES, 0) * 100),
            figure(process.gauges.get(MEMORY, 0) / MIB),
            figure(process.gauges.get("process_threads")),
            figure(process.gauges.get("process_open_fds")),
            figure(process.gauges.get("http_server_active_requests")),
        )
        for process in sorted(history.processes, key=lambda one: (one.role, one.host, one.pid))
    ]
    releases = sorted({process.release for process in history.processes if process.release})
    return Section(
        key="processes",
        title="Processes",
        figures={
            "Processes": str(len(rows)),
            "Processor cores in use": figure(sum(one.gauges.get(CORES, 0) for one in history.processes)),
            "Memory": f"{figure(sum(one.gauges.get(MEMORY, 0) for one in history.processes) / MIB)} MiB",
            "Releases running": ", ".join(releases) or "no name (RELEASE)",
        },
        plots=[
            *plots(
                "cpu",
                "Processor time",
                "cores",
                {
                    role: plots.rates(points)
                    for role, points in history.by("shipshape_process_cpu_seconds_total", "role").items()
                },
            ),
            *plots(
                "memory",
                "Memory",
                "MiB",
                {role: plots.rates(points, seconds=1 / MIB) for role, points in memory.items()},
            ),
        ],
        tables=[
            Table(
                caption="Processes that are alive",
                columns=columns("Process", "Release", "Up", "CPU %", "MiB", "Threads", "Files", "Requests now"),
                rows=rows,
                note="A process is listed while it has reported within the last 20 s.",
            )
        ],
    )


def cache_section(history: History) -> Section:
    """Return where look-ups of the cache were answered, and how often a dependency was given up."""
    plots = Plots(history)
    found = plots.totals_by("shipshape_cache_lookups_total", "source")
    whole = sum(found.values())
    names = {
        "local": "Local hits",
        "redis": "Redis hits",
        "stale": "Stale, while another built",
        "built": "Built",
    }
    return Section(
        key="cache",
        title="Cache and dependencies",
        figures={
            "Look-ups": figure(whole),
            **{text: percent(found.get(source, 0), whole) for source, text in names.items()},
        },
        plots=plots(
            "lookups", "Look-ups by source", "a minute", plots.rates_by("shipshape_cache_lookups_total", "source")
        ),
        tables=[
            Table(
                caption="Circuit breakers that are open now",
                columns=columns("Dependency", "Processes"),
                rows=_breakers_open(history),
                empty="None.",
            ),
            _totals(
                plots, "Misses that did not build (single flight)", "shipshape_cache_single_flight_total", "outcome"
            ),
            _totals(
                plots, "Times that a circuit breaker opened", "shipshape_dependency_unavailable_total", "dependency"
            ),
            _totals(plots, "Times that a fallback was used", "shipshape_degraded_total", "mode"),
        ],
    )


def _breakers_open(history: History) -> list[tuple[str, str]]:
    found = Counter(
        series_read(name)[1]["dependency"]
        for process in history.processes
        for name, value in process.gauges.items()
        if name.startswith("shipshape_breaker_open") and value
    )
    return [(dependency, str(number)) for dependency, number in sorted(found.items())]


def limits_section(history: History, request: HttpRequest) -> Section:
    """Return which policies refused requests, and whose."""
    plots = Plots(history)
    allowed = plots.totals_by("shipshape_limits_allowed_total", "policy")
    refused = plots.totals_by("shipshape_throttled_total", "policy")
    rows = [(name, figure(allowed.get(name, 0)), figure(refused.get(name, 0))) for name in {**refused, **allowed}]
    return Section(
        key="limits",
        title="Limits",
        figures={"Refused (429)": figure(sum(refused.values()))},
        plots=plots(
            "throttled", "Refused by policy", "a minute", plots.rates_by("shipshape_throttled_total", "policy")
        ),
        tables=[
            Table(
                caption="By policy",
                columns=columns("Policy", "Allowed", "Refused"),
                rows=rows,
                empty="No request was counted by a limit in this time.",
            ),
            _refused(history, refused, request),
        ],
    )


def _refused(history: History, totals: Mapping[str, float], request: HttpRequest) -> Table:
    may_see = admin.site.get_model_admin(User).has_view_permission(request)
    rows = []
    for policy in {**totals, **history.refused}:
        names = history.refused.get(policy, {})
        rows += [(policy, _user_link(name) if may_see else name, figure(number)) for name, number in names.items()]
        others = totals.get(policy, 0) - sum(names.values())
        if history.is_fleet and others >= 1:
            rows.append((policy, "(others)", figure(others)))
    heads = [Column(title="Policy", is_number=False), Column(title="Who", is_number=False), Column(title="Refused")]
    note = "User ids, and addresses as LOG_ADDRESSES allows. The access lines with status 429 have every refusal."
    return Table(caption="Who was refused", columns=heads, rows=rows, empty="Nobody in this time.", note=note)


def _user_link(name: str) -> str:
    """Return a user id as a link to the account, and an address as it is."""
    try:
        return format_html('<a href="{}">{}</a>', reverse("admin:accounts_user_change", args=[UUID(name)]), name)
    except ValueError:
        return name


def _totals(plots: Plots, caption: str, name: str, label: str) -> Table:
    rows = [(value.replace("_", " "), figure(number)) for value, number in plots.totals_by(name, label).items()]
    return Table(caption=caption, columns=columns(label.capitalize(), "Times"), rows=rows, empty="None in this time.")
