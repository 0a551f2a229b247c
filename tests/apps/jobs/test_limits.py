"""Limits of one attempt: only the process that exceeds them is ended, and its job is charged."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from mmap import mmap
from typing import Any

import psutil
import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from apps.jobs import processes, tasks
from apps.jobs.context import JobContext
from apps.jobs.kinds import JobKind
from apps.jobs.models import Job
from apps.jobs.processes import runner_process
from apps.jobs.services import claims, job_submit
from apps.jobs.supervisor import Supervisor
from apps.jobs.tasks import job_run
from apps.practices.validation.serializers import StrictSerializer
from tests.processes import alive, wait_until

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]
MIB = 1024**2
linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")


class NothingSerializer(StrictSerializer):
    """No parameters."""


@JobKind("limits.memory", serializer=NothingSerializer, memory_mib=64)
def memory(context: JobContext) -> None:
    bytearray(200 * MIB)


@JobKind("limits.time", serializer=NothingSerializer, seconds=0.2)
def endless(context: JobContext) -> None:
    while True:
        time.sleep(0.05)
        context.progress(done=1)


@JobKind("limits.object", serializer=NothingSerializer)
def returns_an_object(context: JobContext) -> Any:
    return {"it": object()}


@JobKind("limits.nul", serializer=NothingSerializer)
def returns_nul(context: JobContext) -> dict[str, str]:
    return {"it": "\0"}


def run(kind: str) -> Job:
    job = job_submit(kind=kind, owner=None, parameters={})
    job_run(str(job.pk))
    job.refresh_from_db()
    return job


@linux
def test_memory_limit_ends_only_the_attempt() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    job = run("limits.memory")
    assert (job.state, job.attempts) == ("retryable", 1)
    assert "MemoryError" in job.error
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert len(bytearray(200 * MIB)) == 200 * MIB


def test_time_limit_ends_attempt_at_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.jobs.context.REPORT_SECONDS", 0)
    job = run("limits.time")
    assert (job.state, job.attempts) == ("retryable", 1)
    assert "JobTimedOut: The attempt took longer than 0.2 s." in job.error


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["limits.object", "limits.nul"])
def test_unstorable_result_is_a_failed_attempt(kind: str) -> None:
    """Otherwise its process would live on, and its lease with it."""
    job = run(kind)
    assert (job.state, job.attempts) == ("retryable", 1)
    assert job.error


@contextmanager
def pool_process(code: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a process, and yield its name as a runner with it."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield processes._named(psutil.Process(process.pid)), process
        finally:
            process.kill()


IDLE = "print('ready', flush=True); import time; time.sleep(60)"
GREEDY = "held = bytearray(b'x') * (150 << 20); " + IDLE


# What no limit of one process bounds: a child's memory.
def with_a_child(code: str) -> str:
    return (
        f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {code!r}], stdout=subprocess.PIPE); "
        f"child.stdout.readline(); {IDLE}"
    )


@pytest.mark.parametrize(
    "code",
    [GREEDY, with_a_child(GREEDY), with_a_child(with_a_child(GREEDY))],
    ids=["its own", "a child's", "a grandchild's"],
)
def test_process_over_memory_limit_is_killed(job_make: Make, settings: Any, code: str) -> None:
    settings.CELERY_WORKER_MAX_MEMORY_PER_CHILD = 16 * 1024
    supervisor = Supervisor()
    greedy, healthy = job_make(kind="limits.memory"), job_make(kind="limits.memory")
    with pool_process(code) as (bad, bad_process), pool_process(IDLE) as (good, good_process):
        children = psutil.Process(bad_process.pid).children(recursive=True)
        assert claims.job_claim(claimer=claims.Claimer(queue="default", worker=supervisor.worker, runner=bad)) == greedy
        assert (
            claims.job_claim(claimer=claims.Claimer(queue="default", worker=supervisor.worker, runner=good)) == healthy
        )
        before = timezone.now() - timedelta(hours=1)
        Job.objects.update(leased_until=before)
        supervisor._renew_leases()
        assert bad_process.wait(10) == -9
        started = [child.pid for child in children]
        wait_until(lambda: not alive(started), seconds=10, what="what it had started to end")
        assert good_process.poll() is None
    greedy.refresh_from_db()
    healthy.refresh_from_db()
    assert (greedy.state, greedy.attempts, greedy.quarantined) == ("retryable", 1, False)
    assert "MiB; the limit of its kind is 64 MiB" in greedy.error
    assert (healthy.state, healthy.attempts, healthy.quarantined) == ("running", 1, False)
    assert healthy.leased_until is not None
    assert healthy.leased_until > before


def test_overdue_process_without_checkpoint_is_killed(job_make: Make) -> None:
    supervisor = Supervisor()
    job = job_make(kind="limits.time")
    with pool_process(IDLE) as (runner, process):
        claims.job_claim(claimer=claims.Claimer(queue="default", worker=supervisor.worker, runner=runner))
        Job.objects.update(started_at=Now() - timedelta(seconds=0.7))  # of 0.2: it has a second to reach one
        supervisor._end_overdue()
        assert process.poll() is None
        Job.objects.update(started_at=Now() - timedelta(seconds=1.3))
        supervisor._end_overdue()
        assert process.wait(10) == -9
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("retryable", 1)
    assert "reached no checkpoint" in job.error


def test_process_name_survives_clock_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = processes.runner_identity()
    assert runner_process(runner) is not None
    if psutil.LINUX:
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: 1.0)
    assert runner_process(runner) is not None
    assert runner_process(f"{runner}1") is None


@pytest.mark.django_db(transaction=True)
def test_waiting_for_isolation_ends_when_stopping(job_make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_STOPPING", mmap(-1, 1))
    job_make(quarantined=True)
    claims.job_claim(claimer=claims.Claimer(queue="default", worker=processes.worker_identity(), runner="1-1"))
    waiting = job_make(sent_at=timezone.now())
    looks: list[str] = []
    monkeypatch.setattr(tasks.time, "sleep", lambda seconds: (looks.append("slept"), threading.Event().wait(0.05)))

    def wait_isolated() -> None:
        job_run(str(waiting.pk))
        connection.close()

    thread = threading.Thread(target=wait_isolated)
    thread.start()
    wait_until(lambda: len(looks) > 3, seconds=10, what="a process that waits")
    assert thread.is_alive()
    processes.stopping_set()
    thread.join(5)
    assert not thread.is_alive()
    waiting.refresh_from_db()
    assert (waiting.state, waiting.attempts, waiting.sent_at) == ("queued", 0, None)
    Job.objects.filter(state="running").update(state="queued", leased_until=None, isolated=False)
    job_run(str(waiting.pk))
    waiting.refresh_from_db()
    assert waiting.attempts == 0, "a stopping worker claims nothing"
