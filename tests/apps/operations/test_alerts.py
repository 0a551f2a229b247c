"""The table of alerts: what comes from it agrees with the metrics, and an alert fires and ends by the counts of a fault."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from apps.jobs.models import ChunkPurpose, Job, JobChunk, JobWorker
from apps.jobs.services import claims, outcomes
from apps.operations.alerts.measures import RECENT, Facts
from apps.operations.alerts.table import ALERTS, RUNBOOK, firing, rules
from apps.operations.dashboard import certificate
from apps.operations.management.commands.alerts import RULES
from apps.practices.mechanisms.breaker import Breaker
from apps.practices.mechanisms.metrics import count
from apps.practices.observability import gauges, history
from tests.apps.accounts.factories import admin_sign_in, user_create
from tests.apps.operations.faults import fired, process_with, requests
from tests.practices.test_observability_table import metrics_known

ROOT = Path(__file__).resolve().parents[3]
BOARD = json.loads((ROOT / "deploy/grafana/shipshape.json").read_text())
NAMES = [alert.name for alert in ALERTS]


def metrics_of(expression: str) -> set[str]:
    """Return the names of the metrics in an expression; raise ValueError if it is not PromQL."""
    found: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)
        elif isinstance(node, promql_parser.MatrixSelector):
            found.add(node.vector_selector.name)
        for part in ("expr", "lhs", "rhs", "param"):
            if isinstance(below := getattr(node, part, None), promql_parser.Expr):
                visit(below)
        for below in getattr(node, "args", None) or ():
            visit(below)

    visit(promql_parser.parse(expression))
    assert found, expression
    return found


def base_of(name: str) -> str:
    return re.sub(r"_(bucket|count|sum)$", "", name)


def test_rules_file_is_current() -> None:
    assert (ROOT / RULES).read_text() == rules(), "run ./manage.py alerts --prometheus"


def test_rules_are_of_metrics_that_exist() -> None:
    [group] = yaml.safe_load(rules())["groups"]
    assert [rule["alert"] for rule in group["rules"]] == NAMES
    for rule in group["rules"]:
        assert {base_of(name) for name in metrics_of(rule["expr"])} <= metrics_known(), rule["alert"]
        assert re.fullmatch(r"\d+m", rule["for"])


def test_board_is_of_metrics_that_exist() -> None:
    panels = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    for panel in panels:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "5m")
            assert {base_of(name) for name in metrics_of(expression)} <= metrics_known(), panel["title"]


def test_no_measure_looks_further_back_than_what_is_read() -> None:
    assert max(getattr(alert.measure, "minutes", 0) for alert in ALERTS) <= RECENT


def test_every_alert_has_its_section() -> None:
    text = (ROOT / RUNBOOK).read_text()
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(sections) == [alert.title for alert in ALERTS]
    for title, body in sections.items():
        assert "**Look** " in body, title
        assert "**Do**: " in body, title


def last_attempt_fails() -> None:
    Job.objects.create(kind="sample.count", queue="default", attempts=99, parameters={}, state="queued")
    held = claims.job_claim(claimer=claims.Claimer(queue="default", worker="a", runner="1-1"))
    assert held is not None
    outcomes.job_fail(claim=claims.Claim(held.pk, held.fence), error="no")


def file_of(size: int) -> None:
    job = Job.objects.create(kind="sample.count", queue="default", parameters={}, state="scheduled")
    JobChunk.objects.create(job=job, purpose=ChunkPurpose.RESULT, number=0, data=b"x" * size)


def old_job() -> None:
    run_at = timezone.now() - timedelta(minutes=10)
    Job.objects.create(kind="sample.count", queue="mail", parameters={}, state="queued", run_at=run_at)


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "RequestsFail": (lambda: (requests(30), requests(4, status=503)), ""),
    "RequestsSlow": (lambda: requests(20, seconds=3.0), ""),
    "WorkersMissing": (lambda: JobWorker.objects.update(seen_at=timezone.now() - timedelta(minutes=2)), ""),
    "QueueWaits": (old_job, "mail"),
    "JobsDiscarded": (last_attempt_fails, "sample.count"),
    "JobsReclaimed": (lambda: count("jobs_reclaimed", reason="lease-expired"), "lease-expired"),
    "FilesFill": (lambda: file_of(81), ""),
    "DependencyDown": (
        lambda: process_with(shipshape_breaker_open__redis=1, shipshape_breaker_open__replica=0),
        "redis",
    ),
    "ServiceDegraded": (lambda: count("degraded", mode="limits_per_process"), "limits_per_process"),
    "PoolWaits": (lambda: process_with(db_client_connection_pending_requests=1), ""),
    "ReplicaBehind": (lambda: process_with(shipshape_breaker_open__replica=1), ""),
    "CertificateExpires": (lambda: None, ""),
    "GuessesRefused": (lambda: count("account_attempts_refused", 21, purpose="sign-in"), ""),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fires_its_alert_alone(
    numbers: None,
    name: str,
    settings: Any,
    django_capture_on_commit_callbacks: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.JOBS_FILES_TOTAL = 100
    assert fired() == {}
    fault, of = FAULTS[name]
    days = 13.9 if name == "CertificateExpires" else 14
    monkeypatch.setattr(certificate, "certificate", lambda: certificate.Certificate(host="edge", days=days))
    with django_capture_on_commit_callbacks(execute=True):
        fault()
    found = fired()
    assert {alert: list(values) for alert, values in found.items()} == {name: [of]}


def test_workers_read_the_gauges_of_all_sources() -> None:
    """A worker does not import the URLs, and so not the views of the page."""
    code = "import django; django.setup(); from apps.practices.observability import gauges; print(*sorted(gauges._sources))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == sorted(gauges._sources)


def test_a_breaker_of_an_idle_process_counts_as_closed() -> None:
    now = 0.0
    breaker = Breaker("somewhere", clock=lambda: now)
    breaker.failed(OSError())
    assert not breaker.is_open
    breaker.failed(OSError())
    now = 59.0
    assert breaker.is_open
    now = 61.0
    assert not breaker.is_open, "nobody has asked for a minute"
    assert breaker.allows()
    breaker.failed(OSError())
    assert breaker.is_open, "somebody has, and it failed"


def test_too_few_requests_say_nothing(numbers: None) -> None:
    requests(19, status=500, seconds=3.0)
    assert fired() == {}
    requests(1, status=500, seconds=3.0)
    assert fired().keys() == {"RequestsFail", "RequestsSlow"}


def test_nothing_fires_at_the_threshold(numbers: None) -> None:
    requests(95)
    requests(5, status=500)
    count("account_attempts_refused", 20, purpose="sign-in")
    process_with(shipshape_breaker_open__redis=0, db_client_connection_pending_requests=0)
    assert fired() == {}


def test_it_ends_on_the_page_two_minutes_after_the_fault(numbers: None, capsys: pytest.CaptureFixture[str]) -> None:
    requests(40, status=500)
    assert fired() == {"RequestsFail": {"": 1.0}}
    browser = Client(headers={"accept": "text/html"})
    admin_sign_in(browser, user_create(is_staff=True, permissions=("operations.view_operations",)))
    page = browser.get("/admin/operations/?range=6h").content.decode()
    href = re.findall(r'<li><b>Requests fail</b> \(critical\): .*? 1\. <a href="(.+?)">', page)
    assert href == ["/admin/operations/runbook#requests-fail"]
    runbook = browser.get(href[0]).content.decode()
    assert '<section id="requests-fail"' in runbook
    assert "<b>Look</b> at the table by route" in runbook
    with pytest.raises(SystemExit):
        call_command("alerts")
    assert "critical RequestsFail (0." in capsys.readouterr().out
    assert fired(minutes_later=2) == {}


def test_without_redis_only_what_is_known_fires(numbers: None, settings: Any) -> None:
    requests(40, status=500)
    assert [one.alert.name for one in firing(Facts(history.local()))] == ["MetricsPartial"]


def test_without_postgresql_its_gauges_fire(numbers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(gauges._sources, "jobs", lambda: None)
        facts = Facts(history.history(60))
    assert [(one.alert.name, one.details) for one in firing(facts)] == [("DatabaseUnread", "jobs: 0")]


def test_runbook_needs_the_permission() -> None:
    assert Client().get("/admin/operations/runbook").status_code == 302
