"""Sections of the page about jobs, mails and sign-ins."""

from collections.abc import Mapping
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest
from django.utils import timezone

from apps.accounts.models import SecurityEventKind
from apps.accounts.services import mails
from apps.jobs.models import JobState
from apps.jobs.monitoring import JobStats, job_stats, queue_pauses
from apps.jobs.services.pausing import pause_warning
from apps.operations.dashboard.plots import UNKNOWN, figure
from apps.operations.dashboard.sections import Plots, Section, Table, columns, lasting, percent
from apps.practices.observability.history import History

PAUSES = "jobs.pause_queue"  # the permission to pause and resume queues
_ATTEMPTS = "shipshape_jobs_attempts_total"
_WAIT, _RUN = "shipshape_jobs_wait_seconds", "shipshape_jobs_run_seconds"
_MAILS = "shipshape_mails_total"
_EVENTS = "shipshape_security_events_total"
_REFUSED = "shipshape_account_attempts_refused_total"
DOWN = "PostgreSQL did not answer, so what is read from its tables is missing."


def jobs_section(history: History, request: HttpRequest) -> Section:
    """Return the depth and age of queues, with buttons to pause them, and how jobs went, by kind."""
    plots = Plots(history)
    found: JobStats | None = None
    queues: list[dict[str, Any]] = []
    try:
        found = job_stats()
        queues = _queues(found)
    except DatabaseError:
        pass
    attempts = plots.totals_by(_ATTEMPTS, "outcome")
    return Section(
        key="jobs",
        title="Jobs",
        figures={
            "Queued": figure(_states(found, JobState.QUEUED)),
            "Running": figure(_states(found, JobState.RUNNING)),
            "Waiting for a time": figure(_states(found, JobState.SCHEDULED, JobState.RETRYABLE)),
            "Workers": figure(found.workers if found else None),
            "Attempts that succeeded": percent(attempts.get("succeeded", 0), sum(attempts.values())),
        },
        plots=[
            *plots("attempts", "Attempts by outcome", "a minute", plots.rates_by(_ATTEMPTS, "outcome")),
            *plots(
                "waits",
                "Time from when a job was due until it was claimed",
                "s",
                dict(zip(("p50", "p95"), history.histogram(_WAIT).quantile_points((0.5, 0.95)), strict=True)),
            ),
        ],
        tables=[_kinds(history, found)],
        notes=[] if found else [DOWN],
        extra="admin/operations/queues.html",
        values={"queues": queues, "may_pause": request.user.has_perm(PAUSES)},
    )


def _states(found: JobStats | None, *states: JobState) -> float | None:
    return sum(number for (_, state), number in found.jobs.items() if state in states) if found else None


def _queues(found: JobStats) -> list[dict[str, Any]]:
    pauses, now = {pause.queue: pause for pause in queue_pauses()}, timezone.now()
    return [
        {
            "name": queue,
            **{state.value: f"{found.jobs[queue, state]:,}" for state in (JobState.QUEUED, JobState.RUNNING)},
            "later": f"{found.jobs[queue, JobState.SCHEDULED] + found.jobs[queue, JobState.RETRYABLE]:,}",
            "oldest": lasting(oldest) if oldest else UNKNOWN,
            "paused": lasting((now - pauses[queue].paused_at).total_seconds()) if queue in pauses else "",
            "paused_by": pauses[queue].paused_by if queue in pauses else "",
            "warning": pause_warning(queue),
        }
        for queue, oldest in sorted(found.oldest.items())
    ]


def _kinds(history: History, found: JobStats | None) -> Table:
    rows = []
    by_outcome: Mapping[str, Any] = history.by(_ATTEMPTS, "kind")
    exhausted = found.exhausted if found else {}
    for kind in sorted({*by_outcome, *exhausted}):
        outcomes = {outcome: sum(points) for outcome, points in history.by(_ATTEMPTS, "outcome", kind=kind).items()}
        wait, run = (history.histogram(name, kind=kind).quantiles((0.5, 0.95)) for name in (_WAIT, _RUN))
        rows.append(
            (
                kind,
                figure(sum(outcomes.values())),
                figure(outcomes.get("failed", 0)),
                figure(outcomes.get("discarded", 0)),
                figure(exhausted.get(kind, 0)),
                *(figure(value) for value in (*wait, *run)),
            )
        )
    return Table(
        caption="By kind",
        columns=columns(
            "Kind", "Attempts", "Failed", "Discarded", "Exhausted, kept", "Wait p50 s", "p95 s", "Run p50 s", "p95 s"
        ),
        rows=rows,
        empty="No job has run in this time.",
        note="Discarded: with a problem of their own. Exhausted: every attempt failed; counted while the row is kept.",
    )


def sign_ins_section(history: History) -> Section:
    """Return how many people signed in, and which guesses at passwords were refused."""
    plots = Plots(history)
    events = plots.totals_by(_EVENTS, "kind")
    refused = plots.totals_by(_REFUSED, "purpose")
    succeeded, failed = (
        events.pop(kind.value, 0) for kind in (SecurityEventKind.SIGN_IN, SecurityEventKind.SIGN_IN_FAILED)
    )
    lines = plots.rates_by(_EVENTS, "kind")
    drawn = {
        "signed in": lines.get(SecurityEventKind.SIGN_IN.value),
        "failed": lines.get(SecurityEventKind.SIGN_IN_FAILED.value),
        "refused": plots.rates(history.points(_REFUSED, purpose="sign-in"), seconds=60),
    }
    names = dict(SecurityEventKind.choices)
    return Section(
        key="sign-ins",
        title="Sign-ins",
        figures={
            "Signed in": figure(succeeded),
            "Failed": figure(failed),
            "Refused guesses": figure(refused.get("sign-in", 0)),
        },
        plots=plots("sign-ins-plot", "Sign-ins", "a minute", {name: row for name, row in drawn.items() if row}),
        tables=[
            Table(
                caption="Attempts refused after too many failures",
                columns=columns("Purpose", "Refused"),
                rows=[(purpose, figure(number)) for purpose, number in refused.items()],
                empty="None in this time.",
                note="Refused before the password is looked at. “mail” and “reset” are requests for a mail to an address.",
            ),
            Table(
                caption="Other events of accounts",
                columns=columns("Event", "Times"),
                rows=[(names.get(kind, kind), figure(number)) for kind, number in events.items()],
                empty="None in this time.",
            ),
        ],
    )


def mails_section(history: History) -> Section:
    """Return how many mails were sent."""
    plots = Plots(history)
    sent = plots.totals_by(_MAILS, "outcome")
    given_up = plots.totals_by(_ATTEMPTS, "outcome", kind=mails.KIND).get("discarded", 0)
    wait = history.histogram(_WAIT, kind=mails.KIND).quantiles((0.95,))[0]
    return Section(
        key="mails",
        title="Mails",
        figures={
            "Sent": figure(sent.get("sent", 0)),
            "Refused by the mail server": figure(sent.get("refused", 0)),
            "Failed attempts": figure(sent.get("failed", 0)),
            "Given up": figure(given_up),
            "Waited (p95)": f"{figure(wait)} s",
        },
        plots=plots("mails-plot", "Mails by outcome", "a minute", plots.rates_by(_MAILS, "outcome")),
    )
