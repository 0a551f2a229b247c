"""The alerts, and which of them are firing. Each has a section of the same name in ``docs/operate.md``, its runbook."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from apps.operations.alerts.measures import Counted, Facts, FailedShare, Gauge, Measure, Slowness

RUNBOOK = "docs/operate.md"


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A condition that somebody should look at.

    It holds while the measure is above ``threshold``, or with ``below`` is less than it. ``minutes``: for how long it must hold
    before Prometheus or a mail says so. ``critical``: users notice it now.
    """

    name: str
    summary: str
    measure: Measure
    threshold: float
    below: bool = False
    minutes: int = 0
    severity: Literal["critical", "warning"] = "warning"

    @property
    def anchor(self) -> str:
        """Return the anchor of its section in the runbook, as GitHub makes it: ``queue-waits``."""
        return self.title.lower().replace(" ", "-")

    @property
    def title(self) -> str:
        """Return its name as words: ``Queue waits``."""
        first, *others = re.findall(r"[A-Z][a-z]+", self.name)
        return " ".join([first, *(word.lower() for word in others)])

    @property
    def promql(self) -> str:
        """Return the condition in Prometheus's language."""
        return self.measure.promql(f"{'<' if self.below else '>'} {self.threshold:g}")

    def holds(self, facts: Facts) -> Mapping[str, float]:
        """Return the values for which the condition holds, by what they belong to, such as a queue."""
        values = self.measure.read(facts)
        return {
            of: value
            for of, value in sorted(values.items())
            if (value < self.threshold if self.below else value > self.threshold)
        }


ALERTS = (
    Alert(
        name="RequestsFail",
        summary="More than 5 % of requests fail with a 5xx status.",
        measure=FailedShare(minutes=2, least=20),
        threshold=0.05,
        severity="critical",
    ),
    Alert(
        name="RequestsSlow",
        summary="The p95 of the duration of requests is more than a second.",
        measure=Slowness(q=0.95, minutes=2, least=20),
        threshold=1,
    ),
    Alert(
        name="WorkersMissing",
        summary="No worker has had a heartbeat within the last minute.",
        measure=Gauge("shipshape_jobs_workers"),
        threshold=1,
        below=True,
        minutes=1,
        severity="critical",
    ),
    Alert(
        name="QueueWaits",
        summary="A job has waited in its queue for more than five minutes.",
        measure=Gauge("shipshape_jobs_oldest_seconds", by="queue"),
        threshold=300,
    ),
    Alert(
        name="JobsDiscarded",
        summary="Jobs were discarded because their last attempt failed.",
        measure=Counted("shipshape_jobs_last_attempts_failed_total", minutes=10, by="kind"),
        threshold=0,
    ),
    Alert(
        name="JobsReclaimed",
        summary="Jobs were taken from processes or workers that died.",
        measure=Counted("shipshape_jobs_reclaimed_total", minutes=10, by="reason"),
        threshold=0,
    ),
    Alert(
        name="FilesFill",
        summary="Files of jobs take more than 80 % of JOBS_FILES_TOTAL.",
        measure=Gauge("shipshape_jobs_files_bytes", how="sum", of="shipshape_jobs_files_limit_bytes"),
        threshold=0.8,
    ),
    Alert(
        name="DependencyDown",
        summary="A circuit breaker is open, so calls of a dependency are refused at once.",
        measure=Gauge("shipshape_breaker_open", by="dependency", except_for={"dependency": "replica"}),
        threshold=0,
        minutes=1,
        severity="critical",
    ),
    Alert(
        name="ServiceDegraded",
        summary="A fallback is in use.",
        measure=Counted("shipshape_degraded_total", minutes=2, by="mode"),
        threshold=0,
        minutes=1,
    ),
    Alert(
        name="MetricsPartial",
        summary="Redis does not answer, so metrics are those of one process.",
        measure=Gauge("shipshape_metrics_scope", labels={"scope": "process"}),
        threshold=0,
        minutes=1,
        severity="critical",
    ),
    Alert(
        name="DatabaseUnread",
        summary="PostgreSQL does not answer, so its gauges are missing.",
        measure=Gauge("shipshape_gauges_read", how="min", by="source"),
        threshold=1,
        below=True,
        minutes=1,
        severity="critical",
    ),
    Alert(
        name="PoolWaits",
        summary="Requests wait for a connection to PostgreSQL.",
        measure=Gauge("db_client_connection_pending_requests", how="sum"),
        threshold=0,
        minutes=2,
    ),
    Alert(
        name="ReplicaBehind",
        summary="The replica is away or too far behind, so the primary is read in its place.",
        measure=Gauge("shipshape_breaker_open", labels={"dependency": "replica"}),
        threshold=0,
        minutes=2,
    ),
    Alert(
        name="CertificateExpires",
        summary="The certificate at PUBLIC_URL expires in less than 14 days.",
        measure=Gauge("shipshape_certificate_days", how="min"),
        threshold=14,
        below=True,
    ),
    Alert(
        name="GuessesRefused",
        summary="More than 20 guesses at accounts were refused in 10 minutes.",
        measure=Counted("shipshape_account_attempts_refused_total", minutes=10),
        threshold=20,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Firing:
    """An alert whose condition holds, and the values for which it does."""

    alert: Alert
    values: Mapping[str, float]

    @property
    def details(self) -> str:
        """Return the values as text: ``default: 412``."""
        return ", ".join(f"{of}: {value:.4g}" if of else f"{value:.4g}" for of, value in self.values.items())


def firing(facts: Facts) -> list[Firing]:
    """Return the alerts whose condition holds, critical ones first."""
    found = [Firing(alert=alert, values=values) for alert in ALERTS if (values := alert.holds(facts))]
    return sorted(found, key=lambda one: one.alert.severity)


def rules() -> str:
    """Return the rules file for Prometheus, in YAML."""
    lines = [
        "# Written by `manage.py alerts --prometheus` from apps/operations/alerts/table.py. Do not edit it here.",
        "groups:",
        "  - name: shipshape",
        "    rules:",
    ]
    for alert in ALERTS:
        lines += [
            f"      - alert: {alert.name}",
            f"        expr: '{alert.promql}'",
            f"        for: {alert.minutes}m",
            f"        labels: {{severity: {alert.severity}}}",
            "        annotations:",
            f"          summary: '{alert.summary}'",
            f"          runbook: {RUNBOOK}#{alert.anchor}",
        ]
    return "\n".join(lines) + "\n"
