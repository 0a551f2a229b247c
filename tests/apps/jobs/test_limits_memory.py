"""Memory and time of an attempt: all that its kind allows, and no more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from billiard.compat import mem_rss

from apps.jobs import limits, processes
from apps.jobs.context import JobContext
from apps.jobs.kinds import JobKind
from apps.jobs.services import job_submit
from apps.jobs.tasks import job_run
from tests.apps.jobs.test_limits import GREEDY, IDLE, MIB, NothingSerializer, linux, pool_process
from tools.stack import Stack

ROOT = Path(__file__).resolve().parents[3]
RESERVED = f"import mmap; reserved = mmap.mmap(-1, {300 * MIB}); {IDLE}"
# What a host allows may be less than what the kind does.
UNDER_A_HARD_LIMIT = f"""
import resource
import django
import psutil
django.setup()
from apps.jobs.limits import memory_bound
hard = psutil.Process().memory_info().data + {512 * MIB}
resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
for mib, least, most in ((64, hard - {480 * MIB}, hard - {400 * MIB}), (1024, hard, hard)):
    with memory_bound(mib):
        soft, kept = resource.getrlimit(resource.RLIMIT_DATA)
    assert least <= soft <= most, (mib, soft, hard)
    assert kept == hard
    assert resource.getrlimit(resource.RLIMIT_DATA) == (hard, hard)
"""


@JobKind("limits.modest", serializer=NothingSerializer, memory_mib=64)
def modest(context: JobContext) -> dict[str, int]:
    return {"bytes": len(bytearray(40 * MIB))}


@pytest.mark.django_db
def test_attempt_gets_the_memory_of_its_kind() -> None:
    job = job_submit(kind="limits.modest", owner=None, parameters={})
    job_run(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.result) == ("succeeded", {"bytes": 40 * MIB}), job.error


@linux
def test_limit_stays_below_that_of_the_host(stack: Stack) -> None:
    environment = {"DJANGO_SETTINGS_MODULE": "settings.test", **stack.state.urls}
    subprocess.run([sys.executable, "-c", UNDER_A_HARD_LIMIT], cwd=ROOT, env=environment, timeout=60, check=True)


def test_large_process_needs_replacement(settings: Any) -> None:
    settings.CELERY_WORKER_MAX_MEMORY_PER_CHILD = mem_rss() // 2
    assert limits.needs_replacement()
    settings.CELERY_WORKER_MAX_MEMORY_PER_CHILD = mem_rss() * 2
    assert not limits.needs_replacement()


@pytest.mark.parametrize(
    ("code", "idle_mib", "broken"),
    [
        (GREEDY, 64, True),  # 150 MiB and the interpreter, of 64 that the kind may above what is idle
        (GREEDY, 120, False),
        (RESERVED, 64, False),  # memory that was never touched is nobody's
    ],
)
def test_memory_limit_is_on_top_of_an_idle_process(settings: Any, code: str, idle_mib: int, broken: bool) -> None:
    settings.CELERY_WORKER_MAX_MEMORY_PER_CHILD = idle_mib * 1024
    with pool_process(code) as (runner, _):
        found = limits.memory_exceeded(runner=runner, kind="limits.modest")
        assert (found is not None) == broken, found
        assert limits.memory_exceeded(runner=runner, kind="limits.nobody-knows") is None


def test_attempt_gets_the_time_of_its_kind() -> None:
    assert limits.time_exceeded(kind="limits.modest", seconds=3600) is None
    assert "3600 s" in str(limits.time_exceeded(kind="limits.modest", seconds=3600.1))
    assert limits.time_exceeded(kind="limits.nobody-knows", seconds=1e9) is None


@contextmanager
def ended_process() -> Iterator[tuple[str, psutil.Process]]:
    """Run a process to its end, and yield it as seen before."""
    with pool_process(IDLE) as (runner, process):
        seen = psutil.Process(process.pid)
        process.kill()
        process.wait(10)
        yield runner, seen


def test_ended_process_exceeds_no_limit() -> None:
    with ended_process() as (runner, seen):
        assert limits.memory_exceeded(runner=runner, kind="limits.modest") is None
        limits.runner_kill(runner)
        assert limits._family(seen) == []
    assert processes.runner_process(runner) is None


def test_ending_child_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with ended_process() as (_, gone), pool_process(IDLE) as (runner, process):
        alive = psutil.Process(process.pid)
        monkeypatch.setattr(limits, "_family", lambda _: [gone, alive])
        assert limits._memory_used(alive) > 0
        limits.runner_kill(runner)
        assert process.wait(10) == -9
