"""The views of the operations page, below the admin. Both require a permission of their own, which only superusers have."""

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.decorators import permission_required
from django.contrib.contenttypes.models import ContentType
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from apps.jobs.models import QueuePause
from apps.jobs.services.pausing import UnknownQueue, pause_warning, queue_pause, queue_resume
from apps.operations.alerts.measures import Facts, history_now
from apps.operations.alerts.table import firing
from apps.operations.dashboard import postgresql
from apps.operations.dashboard.certificate import certificate
from apps.operations.dashboard.plots import figure, moment
from apps.operations.dashboard.sections import Choice, Plots, Section, Table, columns, quantile_lines
from apps.operations.dashboard.traffic import cache_section, limits_section, processes_section, requests_section
from apps.operations.dashboard.work import PAUSES, jobs_section, mails_section, sign_ins_section
from apps.operations.health import readiness
from apps.practices.observability.history import History

VIEWS = "operations.view_operations"
ROUTE = "operations"
HOUR = 60
STATEMENTS = "db_client_operation_duration_seconds"


@require_safe
@never_cache
@permission_required(VIEWS, raise_exception=True)
def operations(request: HttpRequest) -> HttpResponse:
    """Return the page, or with ``?fragment`` only what changes on it. ``?range=6h`` and ``?sort=-p95`` choose what it shows."""
    choice = Choice.read(request.GET)
    found = history_now(choice.minutes)
    context = {
        "choice": choice,
        "ranges": [(name, choice.link(range=name), name == choice.range) for name in Choice.RANGES],
        "tables_link": choice.link(view="" if choice.view else "tables"),
        "refresh_link": choice.link(),
        "is_tables": bool(choice.view),
        "is_fleet": found.is_fleet,
        "at": timezone.now(),
        "releases": [
            {"name": release.name, "time": moment(release.at)}
            for release in found.releases
            if release.name and release.at >= found.times[0]
        ],
        "notices": _notices(),
        "firing": firing(Facts(found if choice.minutes == HOUR or not found.is_fleet else None)),
        "sections": _sections(found, request, choice),
    }
    if "fragment" in request.GET:
        return render(request, "admin/operations/sections.html", context)
    page = {**admin.site.each_context(request), "title": "Operations", **context}
    return render(request, "admin/operations/page.html", page)


def _sections(found: History, request: HttpRequest, choice: Choice) -> list[Section]:
    return [
        requests_section(found, choice),
        processes_section(found),
        cache_section(found),
        limits_section(found, request),
        jobs_section(found, request),
        sign_ins_section(found),
        mails_section(found),
        _database_section(found),
        _edge_section(),
    ]


def _notices() -> Sequence[str]:
    """Return what readiness finds wrong, in words."""
    checks = readiness().checks
    return [f"{name}: {state}" for name, state in checks.items() if state != "ok"]


def _database_section(found: History) -> Section:
    webs = [process for process in found.processes if process.role == "web"]
    names = ("used", "max", "pending_requests")
    measured = [[process.gauges.get(f"db_client_connection_{name}") for name in names] for process in webs]
    used, most, waiting = (sum(row[place] or 0 for row in measured) for place in range(len(names)))
    pools = Table(
        caption="Connection pools of web processes",
        columns=columns("Process", "In use", "Limit", "Requests that wait for one"),
        rows=[
            (f"{process.host}/{process.pid}", *map(figure, row)) for process, row in zip(webs, measured, strict=True)
        ],
        empty="No web process is alive.",
    )
    plots = Plots(found)
    rates = {name: plots.rates(points) for name, points in found.counts_by(STATEMENTS, "db_operation_name").items()}
    return Section(
        key="database",
        title="Database",
        figures={
            "Connections in use": f"{figure(used)} of {figure(most)}",
            "Requests that wait for one": figure(waiting),
        },
        plots=[
            *plots("statements", "Statements", "a second", rates),
            *plots("statement-durations", "Duration of statements", "ms", quantile_lines(found.histogram(STATEMENTS))),
        ],
        tables=[pools, *postgresql.tables()],
    )


def _edge_section() -> Section:
    found = certificate()
    days = {f"Days left, {found.host}": figure(found.days)} if found.days is not None else {}
    return Section(
        key="edge", title="Certificate at the edge", figures=days, notes=[found.reason] if found.reason else []
    )


@require_POST
@permission_required(PAUSES, raise_exception=True)
def queue_switch(request: HttpRequest, queue: str) -> HttpResponse:
    """Pause or resume a queue, record who did, and return to the page."""
    is_pause = request.POST.get("action") == "pause"
    act, verb = (queue_pause, "paused") if is_pause else (queue_resume, "resumed")
    try:
        changed = act(queue=queue, by=str(request.user.pk))
    except UnknownQueue as error:
        raise Http404(str(error)) from error
    if changed:
        LogEntry.objects.create(
            user_id=cast(UUID, request.user.pk),
            content_type=ContentType.objects.get_for_model(QueuePause),
            object_id=queue,
            object_repr=f"queue {queue}",
            action_flag=CHANGE,
            change_message=f"The queue was {verb}.",
        )
    warning = pause_warning(queue) if is_pause else None
    messages.add_message(
        request,
        messages.WARNING if warning else messages.SUCCESS,
        f"The queue {queue} is {verb}. {warning or ''}".strip(),
    )
    return HttpResponseRedirect(reverse(ROUTE) + Choice.read(request.POST).link() + "#jobs")
