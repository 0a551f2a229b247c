"""Metrics and readiness of jobs, read from rows and from a running fleet with a worker."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psutil
import pytest
from django.db.models.functions import Now
from django.test import Client, override_settings
from django.utils import timezone

from apps.jobs.models import Job, JobWorker, QueuePause
from apps.jobs.services.files import result_append, upload_store
from apps.operations import health
from apps.practices.observability import gauges
from tests.fleet import ask, fleet_running
from tests.processes import wait_until
from tests.secrets import FLEET_PASSWORD
from tools.fleet import ROOT, Fleet
from tools.stack import Stack, port_free

Make = Callable[..., Job]
TOKEN = "a-token-for-the-metrics-of-jobs"
LONG_AGO = timedelta(minutes=5)


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what was read before, as time does."""
    health.dependency_checks.cache_clear()
    for latest in gauges._sources.values():
        latest.cache_clear()  # type: ignore[attr-defined]  # cachetools adds it


def numbers(text: str) -> dict[str, float]:
    """Every sample of a Prometheus text whose name speaks of jobs or gauges, without the prefix."""
    found = re.findall(r"^shipshape_((?:jobs|gauges)\w*(?:\{.*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def scraped(client: Client) -> dict[str, float]:
    with override_settings(OBSERVABILITY_METRICS_TOKEN=TOKEN):
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    return numbers(answer.content.decode())


@pytest.mark.django_db
def test_gauges_count_jobs_and_workers(client: Client, job_make: Make) -> None:
    now = timezone.now()
    job_make(run_at=now - LONG_AGO)
    job_make(state="scheduled", run_at=now + timedelta(hours=1))
    job_make(state="retryable", run_at=now + timedelta(hours=1))
    job_make(run_at=now - 2 * LONG_AGO, queue="heavy")
    job_make(state="running", leased_until=now)
    exhausted = {
        "state": "discarded",
        "finished_at": now,
        "problem": {"type": "https://example.com/problems/attempts-exhausted"},
    }
    job_make(**exhausted)
    job_make(**exhausted, kind="gone.for.good")
    job_make(**exhausted, kind="gone.as.well")
    job_make(**{**exhausted, "problem": {"type": "https://example.com/problems/validation"}})
    JobWorker.objects.create(name="here/1")
    JobWorker.objects.create(name="gone/2", seen_at=Now() - LONG_AGO)
    QueuePause.objects.create(queue="mail")
    samples = scraped(client)
    assert samples['jobs{queue="default",state="queued"}'] == 1
    assert samples['jobs{queue="default",state="scheduled"}'] == 1
    assert samples['jobs{queue="default",state="retryable"}'] == 1
    assert samples['jobs{queue="default",state="running"}'] == 1
    assert samples['jobs{queue="heavy",state="queued"}'] == 1
    assert samples['jobs{queue="heavy",state="running"}'] == 0
    assert 300 <= samples['jobs_oldest_seconds{queue="default"}'] < 400
    assert 600 <= samples['jobs_oldest_seconds{queue="heavy"}'] < 700
    assert samples['jobs_exhausted{kind="sample.count"}'] == 1
    assert samples['jobs_exhausted{kind="unknown"}'] == 2
    assert samples["jobs_workers"] == 1
    assert (samples['jobs_queue_paused{queue="default"}'], samples['jobs_queue_paused{queue="mail"}']) == (0, 1)
    assert samples['gauges_read{source="jobs"}'] == 1


@pytest.mark.django_db
def test_gauges_count_bytes_of_files(client: Client, job_make: Make, settings: Any) -> None:
    settings.JOBS_FILES_TOTAL = 10_000
    job = job_make()
    upload_store(job_id=job.pk, owner_id=job.owner_id, blocks=[b"x" * 1_000])
    result_append(job_id=job.pk, owner_id=job.owner_id, data=b"x" * 2_000)
    samples = scraped(client)
    files = {name: samples[f'jobs_files_bytes{{purpose="{name}"}}'] for name in ("upload", "result")}
    assert (files, samples["jobs_files_limit_bytes"]) == ({"upload": 1_000, "result": 2_000}, 10_000)


@pytest.mark.django_db
def test_gauges_without_jobs_are_zero(client: Client) -> None:
    """A gauge that is not there raises no alarm."""
    samples = scraped(client)
    assert samples['jobs{queue="default",state="queued"}'] == 0
    assert samples['jobs_oldest_seconds{queue="default"}'] == 0
    assert samples['jobs_exhausted{kind="sample.count"}'] == 0
    assert samples["jobs_workers"] == 0


@pytest.mark.django_db
def test_gauges_are_cached(client: Client, job_make: Make) -> None:
    before = scraped(client)
    job_make()
    assert scraped(client)['jobs{queue="default",state="queued"}'] == before['jobs{queue="default",state="queued"}']


SCRAPE = f"""
import django; django.setup()
from django.test import Client, override_settings
with override_settings(OBSERVABILITY_METRICS_TOKEN="{TOKEN}"):
    response = Client().get("/metrics", headers={{"Authorization": "Bearer {TOKEN}"}})
print(response.status_code, response.content.decode())
"""


def test_scrape_works_without_postgresql(stack: Stack) -> None:
    nobody = f"postgres://nobody@127.0.0.1:{port_free()}/none"
    environment = {**stack.state.urls, "DJANGO_SETTINGS_MODULE": "settings.test", "DATABASE_URL": nobody}
    done = subprocess.run(
        [sys.executable, "-c", SCRAPE],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("200 ")
    samples = numbers(done.stdout)
    assert samples['gauges_read{source="jobs"}'] == 0
    assert not [name for name in samples if name.startswith(("jobs{", "jobs_oldest", "jobs_workers"))]
    assert "shipshape_metrics_scope" in done.stdout


def ready(client: Client) -> tuple[str, str | None]:
    health.dependency_checks.cache_clear()
    answer = client.get("/readyz")
    assert answer.status_code == 200, "an instance goes out of service for what is not its fault"
    body = answer.json()
    return body["status"], body["checks"].get("workers")


@pytest.mark.django_db
def test_readiness_hints_at_missing_workers(client: Client, job_make: Make) -> None:
    assert ready(client) == ("ready", None)
    job = job_make()
    assert ready(client) == ("ready", None), "a job may wait for a minute"
    Job.objects.filter(pk=job.pk).update(run_at=Now() - LONG_AGO)
    assert ready(client) == ("degraded", "none seen for 60 s")
    JobWorker.objects.create(name="here/1", queues=["heavy"])
    assert ready(client) == ("degraded", "none for default seen for 60 s")
    JobWorker.objects.update(queues=["default", "heavy"])
    assert ready(client) == ("ready", None), "a worker that is behind is at work"
    JobWorker.objects.update(seen_at=Now() - LONG_AGO)
    assert ready(client) == ("degraded", "none seen for 60 s")
    Job.objects.update(state="cancelled", finished_at=Now())
    assert ready(client) == ("ready", None)


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[Fleet]:
    given = {"DJANGO_SETTINGS_MODULE": "tests.faults.settings", "JOBS_RUNNING_PER_USER": "2"}
    with fleet_running(stack, worker=True, edge=False, instances=1, **given) as fleet:
        yield fleet


def told(fleet: Fleet) -> dict[str, float]:
    web = fleet.webs[0]
    token = web.environment["METRICS_TOKEN"]
    answer = ask(web.url, "/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status == 200
    return numbers(answer.content.decode())


def processes(fleet: Fleet, name: str) -> dict[tuple[str, str], float]:
    """Return a number of each live process by its role and pid."""
    web = fleet.webs[0]
    text = ask(
        web.url, "/metrics", headers={"Authorization": f"Bearer {web.environment['METRICS_TOKEN']}"}
    ).content.decode()
    found = re.findall(rf'^{name}{{.*pid="(\d+)",role="(\w+)"}} (\S+)$', text, re.MULTILINE)
    return {(role, pid): float(value) for pid, role, value in found}


def test_fleet_tells_each_process(fleet: Fleet) -> None:
    """Web processes and workers, those without work included; a stopped one no longer."""
    assert fleet.worker is not None
    expected = [("web", fleet.webs[0].pid), ("worker", fleet.worker.pid)]
    pids = {(role, str(child.pid)) for role, pid in expected for child in psutil.Process(pid).children()}
    pids.add(("worker", str(fleet.worker.pid)))  # the main process, which has the supervisor

    def told() -> dict[tuple[str, str], float]:
        found = processes(fleet, "process_resident_memory_bytes")
        return {key: value for key, value in found.items() if key in pids}

    wait_until(lambda: set(told()) == pids, seconds=15, what=lambda: f"{pids} in {told()}")
    memory, own = told(), {key: psutil.Process(int(key[1])).memory_info().rss for key in pids}
    assert all(0.5 < memory[key] / own[key] < 2 for key in pids), (memory, own)
    for name in ("process_open_fds", "process_threads", "process_cpu_seconds_total", "http_server_active_requests"):
        assert processes(fleet, name).keys() & pids == pids, name


def manage(fleet: Fleet, *words: str) -> None:
    command = [sys.executable, "manage.py", *words]
    subprocess.run(command, cwd=ROOT, env=fleet.webs[0].environment, check=True, timeout=60, capture_output=True)


def test_fleet_counts_workers_and_attempts(fleet: Fleet) -> None:
    url, worker = fleet.webs[0].url, fleet.worker
    assert worker is not None
    credentials = {"email": "owner@example.com", "password": FLEET_PASSWORD}
    assert ask(url, "/api/v1/auth/register", method="POST", body=credentials).status == 201
    access = ask(url, "/api/v1/auth/login", method="POST", body=credentials).json()["access"]
    headers = {"Authorization": f"Bearer {access}"}
    before = told(fleet)  # fleets of this session count on in one Redis

    def now() -> dict[str, float]:
        counted = ("_total{", "_seconds_")
        return {
            name: value - before.get(name, 0) if any(part in name for part in counted) else value
            for name, value in told(fleet).items()
        }

    def submit(seconds: float) -> str:
        answer = ask(url, "/api/v1/sample/notes/counts", method="POST", body={"seconds": seconds}, headers=headers)
        assert answer.status == 202
        return str(answer.json()["id"])

    def tells(seconds: float = 30, **expected: Any) -> None:
        names = {
            "workers": "jobs_workers",
            "paused": 'jobs_queue_paused{queue="default"}',
            "running": 'jobs{queue="default",state="running"}',
            "queued": 'jobs{queue="default",state="queued"}',
            "succeeded": 'jobs_attempts_total{kind="sample.count",outcome="succeeded",queue="default"}',
            "reclaimed": 'jobs_reclaimed_total{reason="lease-expired"}',
        }
        wait_until(
            lambda: all(now().get(names[name], 0) == value for name, value in expected.items()),
            seconds=seconds,
            what=lambda: f"{expected} in {now()}",
        )

    submit(0.2)
    tells(workers=1, succeeded=1, running=0)
    found = now()
    assert found['jobs_wait_seconds_count{kind="sample.count",queue="default"}'] == 1
    assert found['jobs_run_seconds_count{kind="sample.count",queue="default"}'] == 1
    assert found['jobs_run_seconds_bucket{kind="sample.count",le="0.1",queue="default"}'] == 0
    assert found['jobs_run_seconds_bucket{kind="sample.count",le="3600.0",queue="default"}'] == 1
    assert 0.2 <= found['jobs_run_seconds_sum{kind="sample.count",queue="default"}'] < 10

    manage(fleet, "jobs", "pause", "default")
    submit(0.1)
    time.sleep(3)  # longer than a tick of the relay
    tells(queued=1, running=0, succeeded=1, paused=1)
    manage(fleet, "jobs", "resume", "default")
    tells(queued=0, running=0, succeeded=2, paused=0)

    long = [submit(60) for _ in range(3)]
    tells(running=2, queued=1)
    assert now()['jobs_oldest_seconds{queue="default"}'] > 0
    for job_id in long:
        assert ask(url, f"/api/v1/jobs/{job_id}", method="DELETE", headers=headers).status == 200
    tells(running=0, queued=0)

    submit(30)
    tells(running=1)
    worker.kill()
    worker.start()
    tells(reclaimed=1)
    worker.terminate()
    worker.wait(30)
    tells(workers=1)  # the one that was killed is seen for a minute; the one that stopped well is not
