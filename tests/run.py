"""bin/test: run the checks of the code, then the test suite. `bin/test --help` lists the options."""

import argparse
import os
import re
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from tools.stack import Stack, StackError

ROOT = Path(__file__).resolve().parent.parent
STAGE_SECONDS = 600
LANES = 3  # runs of pytest at a time: on two processors, tests that start the service mostly wait
LONG = ("first_steps", "first_hour", "prove", "contract")  # files of tests/live that are started first, each alone
FILES_TOGETHER = 4
_ENVIRONMENT = os.environ

# The variables that settings.prod requires, so that Django's deployment checks see the real settings.
PROD = {
    "DJANGO_SETTINGS_MODULE": "settings.prod",
    "SECRET_KEY": secrets.token_urlsafe(64),
    "PUBLIC_URL": "https://shipshape.example.com",
    "ALLOWED_HOSTS": "shipshape.example.com",
    "TRUSTED_PROXIES": "1",
    "METRICS_TOKEN": secrets.token_urlsafe(32),
    "EMAIL_URL": "dummymail://",
    "EMAIL_FROM": "noreply@shipshape.example.com",
    "JWT_KEYS": f'[{{"kid": "a", "key": "{secrets.token_urlsafe(48)}", "sign_from": "2026-01-01T00:00:00Z"}}]',
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One check: a command that exits with 0 if it passes."""

    name: str
    command: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)


def stages() -> list[Stage]:
    """Return the checks of the code, the longest first, so that two lanes end at about the same time."""
    here = [
        str(path.relative_to(ROOT)) for path in map(ROOT.joinpath, ("apps", "project", "settings", "tests", "tools"))
    ]
    sources = [str(path.relative_to(ROOT)) for folder in here for path in sorted((ROOT / folder).rglob("*.py"))]
    manage = (sys.executable, "manage.py")
    return [
        Stage(name="types (mypy)", command=("mypy",)),
        # -ll: ruff's S rules cover what bandit rates low, and each exception there gives its reason.
        Stage(
            name="bandit",
            command=("bandit", "-q", "-r", "-ll", "-c", "pyproject.toml", "apps", "project", "settings", "tools"),
        ),
        Stage(name="imports (import-linter)", command=("lint-imports",)),
        Stage(name="migrations are made", command=(*manage, "makemigrations", "--check", "--dry-run")),
        Stage(name="migrations lock and rewrite nothing", command=(sys.executable, "-m", "tests.migrations")),
        Stage(
            name="check --deploy (prod)",
            command=(*manage, "check", "--deploy", "--fail-level", "WARNING"),
            settings=PROD,
        ),
        Stage(name="templates (djlint)", command=("djlint", "templates", "apps", "--lint", "--quiet")),
        Stage(
            name="django-upgrade",
            # request.META stays: on hot paths building request.headers costs more than the look-up.
            command=("django-upgrade", "--target-version", "5.2", "--skip", "request_headers", "--check", *sources),
        ),
        Stage(name="lint (ruff)", command=("ruff", "check", "--quiet", ".")),
        Stage(name="format (ruff)", command=("ruff", "format", "--check", "--quiet", *here, "manage.py")),
    ]


def run_stage(stage: Stage, urls: Mapping[str, str]) -> tuple[Stage, float, str | None]:
    """Run one check; return it with its seconds and, if it failed, its output."""
    start = time.monotonic()
    environment = {**_ENVIRONMENT, "DJANGO_SETTINGS_MODULE": "settings.test", **urls, **stage.settings}
    environment.pop("DJANGO_ENV", None)
    try:
        answer = subprocess.run(
            stage.command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STAGE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return stage, time.monotonic() - start, str(error)
    seconds = time.monotonic() - start
    return stage, seconds, None if answer.returncode == 0 else f"{answer.stdout}(exit status {answer.returncode})"


def run_stages() -> Counter[str]:
    """Run every check, two at a time, print each when it ends, and return how many passed and failed."""
    counts: Counter[str] = Counter()
    with Stack.temporary() as stack, ThreadPoolExecutor(max_workers=2) as pool:
        urls = stack.state.urls
        for future in as_completed([pool.submit(run_stage, stage, urls) for stage in stages()]):
            stage, seconds, failure = future.result()
            print(f"{'ok  ' if failure is None else 'FAIL'} {seconds:6.1f} s  {stage.name}", flush=True)
            if failure is not None:
                print(failure.rstrip(), flush=True)
            counts["passed" if failure is None else "failed"] += 1
    return counts


def quick_runs() -> dict[str, list[str]]:
    """Return the tests that start no service, in two runs of about the same length."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))
    return {name: ["-m", "not live", *files[half::2]] for half, name in enumerate(("one half", "the other half"))}


def live_runs() -> dict[str, list[str]]:
    """Return the tests that start the service, longest runs first, so that all lanes end at about the same time."""
    elsewhere = ["tests", *(f"--ignore=tests/{folder}" for folder in ("live", "faults", "browser"))]
    live = files_of("live")
    alone = {name: live.pop(name) for name in (f"tests/live/test_{subject}.py" for subject in LONG) if name in live}
    return (
        {"practices, live": ["-m", "live", *elsewhere]} | alone | together(live) | {"tests/browser": ["tests/browser"]}
    )


def files_of(folder: str) -> dict[str, list[str]]:
    """Return a run for each file of a folder of tests."""
    paths = sorted((ROOT / "tests" / folder).glob("test_*.py"), reverse=True)  # which starts faults' longest early
    return {name: [name] for name in (str(path.relative_to(ROOT)) for path in paths)}


def together(files: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return runs of several files each, since a run takes seconds of processor time before its first test."""
    names = list(files)
    groups = [names[first : first + FILES_TOGETHER] for first in range(0, len(names), FILES_TOGETHER)]
    return {", ".join(Path(name).stem for name in group): group for group in groups}


def run_side_by_side(runs: Mapping[str, Iterable[str]]) -> Counter[str]:
    """Run pytest with each of these arguments, in order and LANES at a time, and print each run when it ends."""
    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(max_workers=LANES) as pool:
        futures = [pool.submit(run_pytest, arguments, name=name, quiet=True) for name, arguments in runs.items()]
        for future in as_completed(futures):
            counts += future.result()
    return counts


def run_pytest(arguments: Iterable[str], *, name: str = "tests", quiet: bool = False) -> Counter[str]:
    """Run pytest and return how many tests passed, failed and were skipped. A crash of pytest is a failure.

    A quiet run prints one line, the reasons of skipped tests and, if a test failed, its output.
    """
    report = ROOT / "var" / "tests" / f"{re.sub(r'[^a-z_]+', '-', name)}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", f"--junitxml={report}", *arguments]
    start = time.monotonic()
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if quiet else {}
    ran = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, text=True, check=False, **output)
    counts = counted(report)
    if ran.returncode != 0 and not counts["failed"]:
        counts["failed"] += 1
    if quiet:
        word = "FAIL" if counts["failed"] else "ok  "
        print(f"{word} {time.monotonic() - start:6.1f} s  {name} ({counts['passed']} passed)", flush=True)
        shown = ran.stdout.splitlines()
        if not counts["failed"]:
            shown = [line for line in shown if line.startswith("SKIPPED")]
        print("".join(f"{line}\n" for line in shown), end="", flush=True)
    return counts


def counted(report: Path) -> Counter[str]:
    """Return the counts of a JUnit report, or none if there is no report."""
    counts: Counter[str] = Counter()
    if report.exists():
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            total, failed, errors, skipped = (
                int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")
            )
            counts.update(passed=total - failed - errors - skipped, failed=failed + errors, skipped=skipped)
    return counts


def main() -> int:
    """Run the command line; return 0 if nothing failed, else 1."""
    parser = argparse.ArgumentParser(
        prog="bin/test",
        description="Run lint, types, import contracts, migration and deployment checks, then the whole test suite on temporary "
        "servers. With paths, run pytest on these only. Other options are passed to pytest.",
        epilog="The last line counts each check as one. Data in var/ is not touched.",
    )
    parser.add_argument("--fast", action="store_true", help="leave out the tests that start the service (mark: live)")
    parser.add_argument(
        "--soak", action="store_true", help="repeat each fault many times, and run randomised tests longer"
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files, folders or test ids for pytest")
    options, others = parser.parse_known_args()
    start = time.monotonic()
    counts: Counter[str] = Counter()
    if not options.paths:
        print("checks:", flush=True)
        try:
            counts += run_stages()
        except StackError as error:
            print(error, file=sys.stderr)
            counts["failed"] += 1
        print(f"       {time.monotonic() - start:6.1f} s  all checks\ntests:", flush=True)
    soak = ["--soak"] if options.soak else []
    if options.paths:
        counts += run_pytest([*soak, *others, *options.paths])
    else:
        runs = {name: [*others, *arguments] for name, arguments in quick_runs().items()}
        if not options.fast:  # the faults last, when the tests that need most processor time have ended
            slow = live_runs() | files_of("faults")
            runs |= {name: [*soak, *others, *arguments] for name, arguments in slow.items()}
        counts += run_side_by_side(runs)
    print(f"{time.monotonic() - start:.0f} s in total")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped", flush=True)
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
