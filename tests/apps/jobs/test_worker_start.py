"""A worker that would wait for ever, or could not keep its promises, says so and does not start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from celery.concurrency import get_implementation

from apps.operations.stack import Stack

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-Q", "default,nope"], "No job is ever in 'nope'. The queues are default, mail"),
        (["-Q", ""], "The queues are default, mail"),
        (["-X", "nope"], "No job is ever in 'nope'."),
        (["-X", "default,mail"], "-X leaves it no queue."),
        (["-Q", "mail", "-X", "mail"], "-X leaves it no queue."),
        (["--pool", "solo"], "--pool has to be prefork"),
        (["--pool", "threads"], "--pool has to be prefork"),
        (["--pool-start-method", "spawn"], "its start method fork"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(stack: Stack, options: list[str], reason: str) -> None:
    ended = started(stack, *options)
    assert ended.returncode == 1
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_can_work_is_not() -> None:
    from apps.jobs.worker import pool_refusal, queues_refusal

    for chosen, left_out in (
        ([], []),
        (["mail"], []),
        (["default", "mail"], []),
        ([], ["mail"]),
        (["default"], ["mail"]),
    ):
        assert queues_refusal(chosen, left_out) is None
    for name in ("prefork", "processes"):
        assert pool_refusal(get_implementation(name), "fork") is None


def started(stack: Stack, *options: str) -> subprocess.CompletedProcess[str]:
    """Start a worker that ends by itself."""
    command = [sys.executable, "-m", "celery", "-A", "project", "worker", "--concurrency", "1", *options]
    environment = {"DJANGO_SETTINGS_MODULE": "settings.test", "PROCESS_KIND": "worker", **stack.state.urls}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
