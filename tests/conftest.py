"""Every pytest session has PostgreSQL and Valkey of its own, started before Django reads its settings.

`DATABASE_URL` and `REDIS_URL` in the environment are used as they are. pytest-django sets Django up in its own
`pytest_configure`, which comes last; so nothing else may name the settings module earlier.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import django
import hypothesis
import pytest

from tests.clusters import cluster_copy
from tests.rounds import Rounds
from tests.secrets import ServerLogs
from tools.stack import Stack, StackError

if TYPE_CHECKING:
    from tests.pgbouncer import PgBouncer

ROOT = Path(__file__).resolve().parent.parent
_STACK = pytest.StashKey[Stack]()
_LOGS = pytest.StashKey[ServerLogs]()
_VARIABLES = ("DATABASE_URL", "REDIS_URL")
_ENVIRONMENT = os.environ
_LIVE = ("live", "faults", "browser")
_seconds: defaultdict[str, float] = defaultdict(float)
_outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the suite's own options."""
    parser.addoption("--soak", action="store_true", help="repeat each fault, and look longer for rare failures")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the throw-away stack and point the settings at it."""
    # The same examples each time, in whatever time they take; --soak looks for others.
    same = {"derandomize": True, "database": None} if not config.getoption("--soak") else {}
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=slow, **same)
    hypothesis.settings.load_profile("suite")
    _ENVIRONMENT["DJANGO_SETTINGS_MODULE"] = "settings.test"
    _ENVIRONMENT.pop("DJANGO_ENV", None)
    given = {name: _ENVIRONMENT[name] for name in _VARIABLES if _ENVIRONMENT.get(name)}
    logs = config.stash[_LOGS] = ServerLogs()
    logs.watch()
    stack = Stack.temporary(given=given)
    try:
        if cluster_copy(stack):
            config.option.reuse_db = True  # the copy's, which is migrated and goes with it
        state = stack.start()
    except StackError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_STACK] = stack
    _ENVIRONMENT.update(state.urls)
    logs.watch_own()
    django.setup()  # pytest-django's own would wait until somebody reads a setting
    from tests.flush import flush_quickly

    flush_quickly()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts the service: the folders for it, and every test on a fleet."""
    for item in items:
        if item.path.relative_to(ROOT).parts[1] in _LIVE or "fleet" in getattr(item, "fixturenames", ()):
            item.add_marker("live")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when a server that it started, of whatever kind, has logged a secret that the suite used."""
    logs = session.config.stash.get(_LOGS, None)
    found = logs.lines() if logs else []
    if found:
        print(f"\n{len(found)} lines of the servers' logs hold secrets:", *found[:10], sep="\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the stack and remove its folder."""
    stack = config.stash.get(_STACK, None)
    if stack is not None:
        from apps.practices.mechanisms.metrics_flusher import shutdown

        shutdown()  # while there is somebody to take this process's last numbers
        stack.stop()
    if _LOGS in config.stash:
        config.stash[_LOGS].close()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count seconds and outcomes by folder."""
    folder = "/".join(Path(report.location[0]).parts[:2])
    _seconds[folder] += report.duration
    if report.when == "call" or report.outcome != "passed":
        _outcomes[folder][report.outcome] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report how many answers were checked against the OpenAPI document, and where the time went."""
    from tests.contract.middleware import seen

    terminalreporter.line(f"{seen['answers']} answers held against the OpenAPI document")
    if len(_seconds) < 2:
        return
    terminalreporter.section("time by folder")
    for folder, seconds in sorted(_seconds.items(), key=lambda item: -item[1]):
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(_outcomes[folder].items()))
        terminalreporter.line(f"{seconds:7.1f} s  {folder}  ({outcomes})")


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Stack:
    """Return the session's stack. A test that breaks one of its services restores it (`stack.restart(name)`)."""
    stack = pytestconfig.stash[_STACK]
    if len(stack.servers) < len(_VARIABLES):
        pytest.skip("stops and starts servers: unset DATABASE_URL and REDIS_URL to run it on servers of its own")
    return stack


@pytest.fixture(autouse=True)
def nothing_cached() -> None:
    """Start every test with empty caches and counts, and without cached session checks."""
    from apps.accounts.selectors.sessions import sessions_forget_all
    from tests.caches import caches_clear

    caches_clear()
    sessions_forget_all()


@pytest.fixture(autouse=True)
def contract_kept() -> Iterator[None]:
    """Fail a test that saw an answer the OpenAPI document does not promise."""
    from tests.contract.middleware import broken

    broken.clear()
    yield
    assert broken == [], "answers that break the OpenAPI document"


@pytest.fixture
def soak(pytestconfig: pytest.Config) -> bool:
    """Return whether faults are repeated (`--soak`)."""
    return bool(pytestconfig.getoption("--soak"))


@pytest.fixture
def rounds(request: pytest.FixtureRequest, soak: bool, capsys: pytest.CaptureFixture[str]) -> Rounds:
    """Return the repetitions of a fault, and the result of each."""

    def line(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}", end="", flush=True)

    return Rounds(name=request.node.name, soak=soak, line=line)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of a Chromium for browser tests."""
    return _from_debian("Chromium", "chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def pgbouncer_binary() -> str:
    """Return the path of a PgBouncer."""
    return _from_debian("PgBouncer", "pgbouncer")


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    """Return servers that only one module uses and may stop."""
    from tests.fleet import servers_alone

    with servers_alone() as stack:
        yield stack


@pytest.fixture(scope="module")
def pgbouncer(pgbouncer_binary: str, own_stack: Stack) -> Iterator[PgBouncer]:
    """Return a PgBouncer in front of these servers."""
    from tests.pgbouncer import pgbouncer_running

    with pgbouncer_running(binary=pgbouncer_binary, stack=own_stack) as running:
        yield running


@pytest.fixture(scope="module")
def own_pgbouncer(pgbouncer_binary: str, stack: Stack, django_db_setup: None) -> Iterator[PgBouncer]:
    """Return a PgBouncer in front of the database of the tests in this process."""
    from django.db import connections

    from tests.fleet import path_replaced
    from tests.pgbouncer import pgbouncer_running

    url = path_replaced(stack.state.urls["DATABASE_URL"], connections["default"].settings_dict["NAME"])
    with pgbouncer_running(binary=pgbouncer_binary, stack=stack, database_url=url) as running:
        yield running


@pytest.fixture(scope="session")
def faketime() -> Callable[[str], dict[str, str]]:
    """Return the environment that shifts a process's clock by a time such as ``+60s``."""
    command = [_from_debian("faketime", "faketime"), "-f", "+0s", "printenv", "LD_PRELOAD"]
    library = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    return lambda off: {"LD_PRELOAD": library, "FAKETIME": off, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def _from_debian(what: str, *names: str) -> str:
    """Find what no wheel brings; skip without it, fail where CI=true promises it."""
    path = os.pathsep.join([_ENVIRONMENT.get("PATH", os.defpath), "/usr/sbin"])  # servers lie there
    found = next((found for name in names if (found := shutil.which(name, path=path))), None)
    if found is None:
        missing = f"{what} is missing: bin/setup --browser installs it (as root)"
        if _ENVIRONMENT.get("CI", "").lower() in ("1", "true"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found
