"""observability: metrics of the whole fleet, by token only, none lost and none counted twice."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings

from apps.practices.mechanisms import metrics, metrics_flusher, metrics_numbers, metrics_process, metrics_store
from apps.practices.observability import exposition
from project.handler import Application
from tests.processes import ROOT, script_run, wait_until
from tools.stack import Stack

TOKEN = "t" * 8 + "-metrics-token-of-a-test"


@pytest.fixture
def numbers() -> Iterator[None]:
    """Metrics in Redis begin at nothing, and what this process counted before is not sent again."""
    metrics_flusher.shutdown()
    metrics_store.client().delete(*metrics_store.client().scan_iter(f"{settings.OBSERVABILITY_METRICS_PREFIX}:*"), "-")
    yield
    metrics_flusher.shutdown()


def scrape(client: Client, token: str = TOKEN) -> HttpResponse:
    return client.get("/metrics", headers={"Authorization": f"Bearer {token}"})  # type: ignore[return-value]


def test_command_sends_its_metrics_before_it_ends(stack: Stack, numbers: None) -> None:
    """A thread sends it: one that was cut off in the middle could hold a lock for which the end then waits for ever."""
    script = """
import django
django.setup()
from apps.practices.mechanisms.metrics import count
count("dependency_unavailable", dependency="a-command")
"""
    script_run(script, stack)
    assert [field for field in metrics_store.fleet_totals() if b"a-command" in field]


@pytest.mark.parametrize("header", ["", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ü"])
def test_metrics_require_the_token(client: Client, header: str) -> None:
    with override_settings(OBSERVABILITY_METRICS_TOKEN=TOKEN):
        assert client.get("/metrics", headers={"Authorization": header}).status_code == 404
    with override_settings(OBSERVABILITY_METRICS_TOKEN=None):
        assert client.get("/metrics", headers={"Authorization": header}).status_code == 404


@override_settings(OBSERVABILITY_METRICS_TOKEN=TOKEN)
def test_unknown_paths_and_methods_add_no_series(client: Client, numbers: None) -> None:
    client.get("/warm-up")
    before = len(metrics_numbers.numbers())
    for number in range(20):
        client.get(f"/nothing/{number}")
    text = scrape(client).content.decode()
    assert len(metrics_numbers.numbers()) - before < 15  # buckets of the two routes, never one a path
    client.generic("BREW", "/nothing")
    assert "/nothing" not in text
    assert 'method="BREW"' not in scrape(client).content.decode()


CHILD = """
import django; django.setup()
import sys
from apps.practices.mechanisms import metrics_store
from apps.practices.mechanisms import metrics
for _ in range(int(sys.argv[1])):
    metrics.request_observe(route="/fleet", method="GET", status=int(sys.argv[2]), seconds=0.02, request_id="-")
metrics.count("fleet_things", int(sys.argv[1]), kind="a")
metrics.count("fleet_last", kind=sys.argv[2])
import time, os
last, end = b"fleet_last", time.monotonic() + 30
def sent():  # by the thread that does so every second
    fields = metrics_store.client().hvals(metrics_store.names_key())
    return any(last in field and sys.argv[2].encode() in field for field in fields)
while not sent() and time.monotonic() < end:
    time.sleep(0.05)
os._exit(9)      # as killed: no exit hook runs
"""


@override_settings(OBSERVABILITY_METRICS_TOKEN=TOKEN)
@pytest.mark.django_db  # gauges of the ledger
def test_metrics_include_killed_processes(client: Client, numbers: None, stack: Stack) -> None:
    environment = {"DJANGO_SETTINGS_MODULE": "settings.test", **stack.state.urls}
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, amount, status], cwd=ROOT, env=environment)
        for amount, status in (("3", "200"), ("4", "503"))
    ]
    assert [child.wait(60) for child in children] == [9, 9]
    text = scrape(client).content.decode()
    name, labels = (
        "http_server_request_duration_seconds",
        'http_request_method="GET",http_response_status_code="{}",http_route="/fleet"',
    )
    assert f"{name}_count{{{labels.format(200)}}} 3.0" in text
    assert f"{name}_count{{{labels.format(503)}}} 4.0" in text
    assert 'shipshape_fleet_things_total{kind="a"} 7.0' in text
    assert f'{name}_bucket{{{labels.format(200)},le="0.01"}} 0.0' in text
    assert f'{name}_bucket{{{labels.format(200)},le="0.025"}} 3.0' in text
    assert 'shipshape_metrics_scope{scope="fleet"} 1.0' in text
    keys = list(metrics_store.client().scan_iter(f"{settings.OBSERVABILITY_METRICS_PREFIX}:[0-9]*"))
    assert len(keys) >= 6, "a bucket and its slowest requests, for each resolution"
    assert all(0 < metrics_store.client().ttl(key) <= 25 * 3600 for key in keys), "nothing is kept for ever"


@override_settings(OBSERVABILITY_METRICS_TOKEN=TOKEN)
@pytest.mark.django_db  # gauges of the ledger
def test_metrics_survive_a_redis_outage(client: Client, numbers: None, stack: Stack) -> None:
    stack.servers["redis"].kill()
    try:
        metrics.count("away_things", 5)
        client.get("/api/v1/sample/notes")
        started = time.monotonic()
        text = scrape(client).content.decode()
        assert time.monotonic() - started < 10
        assert 'shipshape_metrics_scope{scope="process"} 1.0' in text
        assert "shipshape_away_things_total 5.0" in text
        for mode in ("limits_per_process", "cache_per_process"):
            assert f'shipshape_degraded_total{{mode="{mode}"}}' in text
        assert re.search(r"^process_open_fds{.*} [1-9]", text, re.MULTILINE), "this process's own"
    finally:
        stack.restart("redis")

    def told_by_the_fleet() -> bool:
        text = scrape(client).content.decode()
        return "shipshape_away_things_total 5.0" in text and 'scope="fleet"' in text

    wait_until(told_by_the_fleet, seconds=10, what="what was counted meanwhile")


def test_a_forked_child_sends_only_what_it_adds(numbers: None) -> None:
    metrics.count("forked_things", 10)
    metrics_flusher.flush()
    script = (
        "import django; django.setup()\n"
        "import os\n"
        "from apps.practices.mechanisms import metrics, metrics_flusher, metrics_numbers, metrics_process, metrics_store\n"
        "metrics.count('forked_things', 100); metrics_store.fleet_totals()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    metrics.count('forked_things', 1); metrics_flusher.flush(); os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
    )
    environment = {
        "DJANGO_SETTINGS_MODULE": "settings.test",
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
        "REDIS_URL": settings.OBSERVABILITY_REDIS_URL,
    }
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True, timeout=60)
    totals = {metrics_numbers.field_read(field)[0]: value for field, value in metrics_store.fleet_totals().items()}
    assert totals["shipshape_forked_things_total"] == 111


def test_counter_names_are_checked() -> None:
    with pytest.raises(ValueError, match="snake_case"):
        metrics.count("Not A Name")


@pytest.mark.django_db  # gauges of the ledger
def test_exposition_is_valid_prometheus_text(numbers: None) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    for seconds in (0.15, 0.2):
        metrics.request_observe(route="/x", method="GET", status=200, seconds=seconds, request_id="-")
    families = {family.name: family for family in text_string_to_metric_families(exposition.exposition()[0].decode())}
    assert families["http_server_request_duration_seconds"].type == "histogram"
    assert families["http_server_request_duration_seconds"].documentation.startswith("Time from the arrival")
    buckets = {
        sample.labels["le"]: sample.value
        for sample in families["http_server_request_duration_seconds"].samples
        if sample.labels["http_route"] == "/x" and "le" in sample.labels
    }
    assert list(buckets) == [*map(str, metrics.BOUNDS), "+Inf"], "the bounds between these are for the operations page"
    assert (buckets["0.1"], buckets["0.25"]) == (0, 2)


@override_settings(OBSERVABILITY_METRICS_TOKEN=TOKEN)
@pytest.mark.django_db  # gauges of the ledger
def test_openmetrics_has_request_ids_as_exemplars(client: Client, numbers: None) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    metrics.request_observe(route="/slow", method="GET", status=200, seconds=0.2, request_id="the-slow-one")
    metrics.request_observe(route="/slow", method="GET", status=200, seconds=0.003, request_id="a-fast-one")
    accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3"
    response = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}", "Accept": accept})
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    found = {
        (sample.labels["le"], sample.exemplar.labels["request_id"], sample.exemplar.value)
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
        if sample.exemplar and sample.labels["http_route"] == "/slow"
    }
    assert found == {("0.25", "the-slow-one", 0.2)}
    assert b"the-slow-one" not in scrape(client).content


def test_series_of_a_metric_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_SERIES", 3)
    monkeypatch.setattr(metrics, "_durations", dict(metrics._durations))
    durations = metrics.Durations("bounded_seconds", "A test's.", labels=["route"])
    before = len(metrics_numbers.numbers())
    for number in range(50):
        metrics.count("bounded_things", route=str(number))
        durations.observe(0.5, route=str(number))
    found = {metrics_numbers.field_read(field): value for field, value in metrics_numbers.numbers().items()}
    counted = {labels: value for (name, labels), value in found.items() if name == "shipshape_bounded_things_total"}
    assert counted == {
        **{(("route", str(number)),): 1 for number in range(3)},
        (("route", metrics.OVERFLOW),): 47,
    }
    assert found["bounded_seconds_sum", (("route", metrics.OVERFLOW),)] == 47 * 0.5
    assert len(found) - before == 3 * 4, "one bucket, its sum and a counter, of three routes and the overflow"


@pytest.mark.django_db
def test_request_is_in_flight_until_it_is_answered() -> None:
    def active() -> float:
        return metrics_process.Heart().look().gauges["http_server_active_requests"]

    before, environ = active(), RequestFactory().get("/api/v1/sample/notes/busy?seconds=0.5").environ
    thread = threading.Thread(target=Application(), args=(environ, lambda *_: None))
    thread.start()
    wait_until(lambda: active() == before + 1, seconds=5, what="the request")
    thread.join()
    assert active() == before
