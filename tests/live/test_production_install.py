"""A production install: requirements/prod.txt only, without `tools` and `tests`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.copies import project_copy
from tests.run import PROD

# Import what the processes of the Procfile import, then print what none of them may import.
LOADED = """
import sys
import project.wsgi, project.celery, project.gunicorn, project.granian
from django.core.management import get_commands
from django.urls import get_resolver
get_resolver().url_patterns
project.celery.app.loader.import_default_modules()
print(sorted(name for name in sys.modules if name.split(".")[0] in {"tools", "tests", "zeal", "watchfiles"}))
print({"prove", "startresource"} & set(get_commands()))
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that runs a command in the install, in the environment that `bin/test` checks prod with."""
    tree = project_copy(tmp_path_factory.mktemp("production") / "project")
    shutil.rmtree(tree / "tools")
    shutil.rmtree(tree / "tests")
    venv = tree / ".venv"
    venv.unlink()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=60)
    install = ["-m", "uv", "pip", "install", "--quiet", "--require-hashes", "-r", tree / "requirements" / "prod.txt"]
    subprocess.run([sys.executable, *install, "--python", venv / "bin" / "python"], check=True, timeout=300)
    environment = {
        **PROD,
        "PATH": f"{venv / 'bin'}:/usr/bin:/bin",
        "DATABASE_URL": "postgres://user:secret@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [venv / "bin" / "python", *words], cwd=tree, env=environment, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
        )  # fmt: skip

    return run


def test_production_loads_neither_tools_nor_tests(installed: Run) -> None:
    ran = installed("-c", LOADED)
    assert ran.stdout.splitlines()[-2:] == ["[]", "set()"], ran.stdout
    assert ran.returncode == 0


def test_production_passes_its_deployment_check(installed: Run) -> None:
    ran = installed("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert ran.returncode == 0, ran.stdout


def test_production_has_no_developers_commands(installed: Run) -> None:
    ran = installed("manage.py", "prove")
    assert ran.returncode == 1
    assert ran.stdout.startswith("Unknown command: 'prove'")
