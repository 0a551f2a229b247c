"""A worker whose options would leave jobs waiting, or limits unenforced, refuses to start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from celery.concurrency import get_implementation
from django.conf import settings

from tools.stack import Stack

QUEUES = [queue.name for queue in settings.CELERY_TASK_QUEUES]  # a team may add its own
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-Q", "default,nope"], f"Unknown queue 'nope'. Choose from {', '.join(QUEUES)}"),
        (["-X", ",".join(QUEUES)], f"-X leaves no queue. Choose from {', '.join(QUEUES)}"),
        (["--pool", "solo"], "--pool must be prefork"),
    ],
)
def test_invalid_options_end_the_start(stack: Stack, options: list[str], reason: str) -> None:
    ended = started(stack, *options)
    assert ended.returncode == 1
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("chosen", "excluded", "reason"),
    [
        ([], [], None),
        (["mail"], [], None),
        (["default", "mail"], [], None),
        ([], ["mail"], None),
        (["default"], ["mail"], None),
        ([""], [], "Unknown queue ''."),
        (["mail", "one", "another"], [], "Unknown queue 'another', 'one'."),
        ([], ["nope"], "Unknown queue 'nope'."),
        ([], QUEUES, "-X leaves no queue."),
        (["mail"], ["mail"], "-X leaves no queue."),
    ],
)
def test_queues_refusal(chosen: list[str], excluded: list[str], reason: str | None) -> None:
    from apps.jobs.worker import queues_refusal

    refusal = queues_refusal(chosen, excluded)
    assert refusal is None if reason is None else reason in str(refusal)


@pytest.mark.parametrize(
    ("pool", "start_method", "refused"),
    [
        ("prefork", "fork", False),
        ("processes", "fork", False),
        ("solo", "fork", True),
        ("threads", "fork", True),
        ("prefork", "spawn", True),
    ],
)
def test_pool_refusal(pool: str, start_method: str, refused: bool) -> None:
    from apps.jobs.worker import pool_refusal

    assert (pool_refusal(get_implementation(pool), start_method) is not None) == refused


def started(stack: Stack, *options: str) -> subprocess.CompletedProcess[str]:
    """Start a worker that ends by itself."""
    command = [sys.executable, "-m", "celery", "-A", "project", "worker", "--concurrency", "1", *options]
    environment = {"DJANGO_SETTINGS_MODULE": "settings.test", "PROCESS_KIND": "worker", **stack.state.urls}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("concurrency", "chosen", "excluded", "most"),
    [
        (3, (), (), 2),
        (2, ("default", "mail"), (), 1),
        (1, (), (), None),
        (3, ("mail",), (), None),
        (3, (), ("mail",), None),
    ],
)
def test_unreserved_limit(
    concurrency: int, chosen: tuple[str, ...], excluded: tuple[str, ...], most: int | None
) -> None:
    from apps.jobs.worker import unreserved_limit_of

    assert unreserved_limit_of(concurrency, chosen, excluded) == most


def test_garbage_collection_skips_what_the_worker_loaded(stack: Stack) -> None:
    """Each process of the pool would visit it all, several times a second."""
    script = (
        "import django; django.setup()\n"
        "import gc; from project.celery import app\n"
        "app.Worker(); print(gc.get_freeze_count())"
    )
    environment = {**os.environ, **stack.state.urls, "DJANGO_SETTINGS_MODULE": "settings.test"}
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout.split()[-1]) > 50_000
