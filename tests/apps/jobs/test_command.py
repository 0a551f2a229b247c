"""`manage.py jobs`, run in a process of its own, without Redis."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.utils import timezone

from apps.accounts.models import User
from apps.jobs.models import Job, QueuePause
from tests.apps.accounts.factories import user_create
from tests.commands import commands_in
from tests.fleet import path_replaced
from tests.processes import ROOT
from tools.stack import Stack, port_free

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Job]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
NOW = timezone.now()


@pytest.fixture(scope="module")
def environment(stack: Stack, django_db_setup: None) -> dict[str, str]:
    """Return an environment where nothing listens for Redis."""
    return {
        "PATH": "/usr/bin:/bin",
        "DJANGO_SETTINGS_MODULE": "settings.test",
        "DATABASE_URL": path_replaced(stack.state.urls["DATABASE_URL"], str(connection.settings_dict["NAME"])),
        "REDIS_URL": f"redis://127.0.0.1:{port_free()}/0",
    }


@pytest.fixture(scope="module")
def run(environment: dict[str, str]) -> Iterator[Run]:
    with commands_in(environment) as manage:
        yield partial(manage, "jobs")


def failed(job_make: Make, **columns: Any) -> Job:
    return job_make(**{"state": "discarded", "finished_at": NOW, "attempts": 5, "error": "boom", **columns})


def listed(run: Run, *arguments: Any) -> list[str]:
    """Return the ids of the jobs in a list."""
    ran = run("list", *arguments)
    assert ran.returncode == 0, ran.stderr
    return [line.split()[0] for line in ran.stdout.splitlines()[1:]]


def test_list_and_show(run: Run, job_make: Make, owner: User) -> None:
    old = job_make(created_at=NOW - timedelta(hours=3), progress_done=1, progress_total=4)
    dead = failed(
        job_make, owner=None, kind="accounts.mail", parameters={"to": "who-gets-it"}, error="token=abcdefgh1234"
    )
    assert listed(run) == [str(dead.pk), str(old.pk)]
    assert listed(run, "--older", "2h") == listed(run, "--state", "queued", "--state", "running") == [str(old.pk)]
    assert listed(run, "--owner", owner.email.upper(), "--limit", "1") == [str(old.pk)]
    table = run("list", "--kind", "sample.count").stdout.splitlines()
    assert len(table) == 2
    assert all(part in table[1] for part in (str(old.pk), "queued", "25 %", "0/5", "3h", owner.email))
    shown = run("show", dead.pk)
    assert shown.returncode == 0, shown.stderr
    columns = json.loads(shown.stdout)
    assert (columns["id"], columns["state"], columns["owner"]) == (str(dead.pk), "discarded", None)
    assert columns["error"].startswith("token=")
    for secret in ("who-gets-it", "abcdefgh1234"):
        assert secret not in shown.stdout


def test_retry_and_cancel_need_no_redis(run: Run, job_make: Make, owner: User) -> None:
    other = user_create()
    dead = [failed(job_make), failed(job_make)]
    kept = failed(job_make, owner=other)
    ran = run("retry", "--owner", owner.email)
    assert (ran.returncode, ran.stdout) == (0, "2 scheduled to run again.\n"), ran.stderr
    assert set(Job.objects.filter(state="scheduled", sent_at=None).values_list("pk", flat=True)) == {
        job.pk for job in dead
    }
    busy = job_make(state="running", leased_until=NOW + timedelta(minutes=1))
    assert run("cancel", dead[0].pk, busy.pk).stdout == "1 cancelled, 1 will stop at the next checkpoint.\n"
    states = {job.pk: (job.state, job.stop) for job in Job.objects.all()}
    assert states == {
        dead[0].pk: ("cancelled", ""),
        dead[1].pk: ("scheduled", ""),
        busy.pk: ("running", "cancel"),
        kept.pk: ("discarded", ""),
    }


def test_exit_statuses(run: Run, job_make: Make) -> None:
    waiting = job_make()
    before = list(Job.objects.values())
    for arguments, status, said in (
        (("retry", waiting.pk), 1, str(waiting.pk)),
        (("show", "01a214ed-3f71-751e-be0a-1de0552b5195"), 1, "No job has the id"),
        (("cancel", "--owner", "nobody@example.com"), 1, "nobody@example.com"),
        (("cancel",), 2, "condition"),
        (("cancel", "not-an-id"), 2, "not-an-id"),
        (("list", "--older", "soon"), 2, "10m"),
        (("list", "--state", "parked"), 2, "discarded"),
        (("list", "--limit", "-3"), 2, "-3"),
        (("cancel", "--kind", "sample.cuont"), 0, "sample.count"),
        ((), 2, "action"),
    ):
        ran = run(*arguments)
        assert ran.returncode == status, (arguments, ran.stderr)
        assert said in ran.stderr
        assert "Traceback" not in ran.stderr
    assert list(Job.objects.values()) == before


def test_queues_are_paused_and_resumed(run: Run, job_make: Make) -> None:
    def said(*arguments: str) -> tuple[str, str]:
        out, err = StringIO(), StringIO()
        call_command("jobs", *arguments, stdout=out, stderr=err, no_color=True)
        return out.getvalue(), err.getvalue()

    job_make(run_at=NOW - timedelta(hours=3))
    assert said("queues")[0] == "default: 1 queued, the oldest for 3h, 0 running\nmail: 0 queued, 0 running\n"
    assert said("pause", "default") == ("The queue default is paused.\n", "")
    told, warned = said("pause", "mail")
    assert told == "The queue mail is paused.\n"
    assert "no mail is sent" in warned
    assert said("pause", "default")[0] == "The queue default was paused already.\n"
    assert re.search(r"paused \d+s ago by manage.py jobs", said("queues")[0])
    assert run("resume", "default").stdout == "The queue default is resumed.\n"  # without Redis
    assert said("resume", "default")[0] == "The queue default was not paused.\n"
    assert list(QueuePause.objects.values_list("queue", flat=True)) == ["mail"]
    for action in ("pause", "resume"):
        with pytest.raises(CommandError, match="Choose from default, mail") as refused:
            said(action, "defualt")
        assert refused.value.returncode == 2


def test_postgresql_down_is_one_line(environment: dict[str, str]) -> None:
    nobody = {"DATABASE_URL": f"postgres://nobody@127.0.0.1:{port_free()}/none"}
    ran = subprocess.run(
        [sys.executable, "manage.py", "jobs", "list"],
        cwd=ROOT,
        env=environment | nobody,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("Cannot use PostgreSQL at ")
    assert "Traceback" not in ran.stderr


def test_help_explains_actions_and_options(run: Run) -> None:
    whole, retrying = run("--help").stdout, run("retry", "--help").stdout
    assert all(name in whole for name in ("list", "show", "queues", "retry", "cancel", "Exit status: 0"))
    assert all(name in retrying for name in ("--state", "--kind", "--owner", "--older", "checkpoint"))
    assert max(map(len, (whole + retrying).splitlines())) <= 140
