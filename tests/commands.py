"""Run many management commands in one environment. Each has its own process, forked from one in which Django is set up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.processes import ROOT

# Exactly manage.py's `main`, with the interpreter's own end: exit status, tracebacks, what runs at exit.
_SERVER = """
import gc, json, os, sys, tempfile
from settings.env import select_settings
select_settings()
import django, manage
django.setup()
gc.freeze()  # or each process would collect, at its end, all that it shares
for line in sys.stdin:
    sys.argv = ["manage.py", *json.loads(line)]
    outputs = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
    if (pid := os.fork()) == 0:
        for number, file in enumerate([open(os.devnull), *outputs]):
            os.dup2(file.fileno(), number)
        break
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for file in outputs:
        file.seek(0)
    print(json.dumps([status, *(file.read().decode() for file in outputs)]), flush=True)
else:
    sys.exit()
manage.main()
"""


class Commands:
    """Runs ``manage.py`` with arguments, and returns its status and outputs."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def __call__(self, *arguments: Any) -> subprocess.CompletedProcess[str]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        words = [str(argument) for argument in arguments]
        self._server.stdin.write(json.dumps(words) + "\n")
        self._server.stdin.flush()
        status, output, errors = json.loads(self._server.stdout.readline())
        return subprocess.CompletedProcess(["manage.py", *words], status, output, errors)


@contextmanager
def commands_in(
    environment: Mapping[str, str], *, python: Sequence[str] = (sys.executable,), folder: Path = ROOT
) -> Iterator[Commands]:
    """Start the process that others are forked from. Settings are read once: a command's environment is this one."""
    with subprocess.Popen(
        [*python, "-c", _SERVER],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            yield Commands(server)
        finally:
            server.kill()
