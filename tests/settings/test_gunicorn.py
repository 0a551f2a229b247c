"""Where gunicorn listens."""

import os
import subprocess
import sys

import pytest

from settings.env import ROOT

STORES = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", "REDIS_URL": "redis://127.0.0.1:9/0"}


@pytest.mark.parametrize(("name", "address"), [("dev", "127.0.0.1:8123"), ("test", "0.0.0.0:8123")])
def test_development_is_for_this_machine_alone(name: str, address: str) -> None:
    """It shows tracebacks and has an account whose password is published."""
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME")}
    answer = subprocess.run(
        [sys.executable, "-c", "import runpy; print(runpy.run_path('project/gunicorn.py')['bind'])"],
        cwd=ROOT,
        env={**kept, **STORES, "DJANGO_ENV": name, "PORT": "8123"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert answer.stdout.strip() == address
