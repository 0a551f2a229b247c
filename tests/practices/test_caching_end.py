"""caching, at the end of a process: no thread is killed while it talks to Redis."""

import subprocess
import sys
from pathlib import Path

from tools.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import atexit
import threading

def threads(when):
    print(when, "cache-tags" in [thread.name for thread in threading.enumerate()])

atexit.register(threads, "end")  # runs last

import django
django.setup()
from apps.practices.caching import tags_change
tags_change("things")
threads("before")
"""


def test_retry_thread_ends_before_the_interpreter(stack: Stack) -> None:
    """If killed, it could hold a lock that the interpreter then waits for."""
    away = {"REDIS_URL": "redis://127.0.0.1:1/0", "CACHE_URL": "redis://127.0.0.1:1/0"}
    environment = {"DJANGO_SETTINGS_MODULE": "settings.test", **stack.state.urls, **away}
    command = [sys.executable, "-c", SCRIPT]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, timeout=60, check=True, stdout=subprocess.PIPE, text=True
    )
    assert [line for line in ended.stdout.splitlines() if line.endswith(("True", "False"))] == [
        "before True",
        "end False",
    ]
