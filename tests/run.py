"""bin/test: run the checks of the code, then the test suite. `bin/test --help` lists the options."""

import argparse
import math
import os
import re
import secrets
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from tests.clusters import cluster_copy
from tests.durations import length, spread
from tools.stack import Stack, StackError

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "var" / "tests"
STAGE_SECONDS = 600
LANES = 2  # runs of pytest at a time that mostly compute, and as many that mostly wait
LIVE = ("live", "faults", "browser")  # folders of tests that all start the service
# Files of tests/live that mostly compute. The fourth proves that proofs can fail, and waits for that.
BUSY = tuple(f"tests/live/test_{name}.py" for name in ("first_steps", "first_hour", "contract", "prove"))
SLOW_SECONDS = 10.0  # of a file's tests, above which --fast leaves it out
RUN_SECONDS = 100.0  # of tests in a run that starts the service, about
NICE = 5  # what a run that computes leaves to those that measure times
Runs = dict[str, list[str]]  # pytest's arguments, by the name of the run
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
    stack = Stack.temporary()
    cluster_copy(stack)
    with stack, ThreadPoolExecutor(max_workers=2) as pool:
        urls = stack.state.urls
        for future in as_completed([pool.submit(run_stage, stage, urls) for stage in stages()]):
            stage, seconds, failure = future.result()
            print(f"{'ok  ' if failure is None else 'FAIL'} {seconds:6.1f} s  {stage.name}", flush=True)
            if failure is not None:
                print(failure.rstrip(), flush=True)
            counts["passed" if failure is None else "failed"] += 1
    return counts


def quick_runs(*, fast: bool = False) -> Runs:
    """Return the tests that start no service; fast: without the slowest files."""
    slow = {file for file in files_elsewhere() if fast and length([file], kind="quick") > SLOW_SECONDS}
    if slow:
        print("     left out:", *(Path(file).stem for file in sorted(slow)), flush=True)
    count = LANES if fast else 2 * LANES  # with shorter runs, lanes end at about the same time
    shares = spread(set(files_elsewhere()) - slow, kind="quick", shares=count)
    return {f"quick tests, {number} of {count}": ["-m", "not live", *share] for number, share in enumerate(shares, 1)}


def busy_runs() -> Runs:
    """Return the tests that start the service and mostly compute."""
    return {file: [file] for file in BUSY if (ROOT / file).exists()}


def waiting_runs() -> Runs:
    """Return the other tests that start the service, the longest run first. Each file of faults has servers to itself."""
    groups = {
        "practices, live": files_elsewhere(),
        "tests/live": [file for file in files_of("live") if file not in BUSY],
        "tests/browser": files_of("browser"),
        **{file: [file] for file in files_of("faults")},
    }
    runs = []
    for name, files in groups.items():
        count = math.ceil(length(files, kind="live") / RUN_SECONDS) or 1
        shares = spread(files, kind="live", shares=min(count, len(files)))
        runs += [(f"{name} {number}" if len(shares) > 1 else name, share) for number, share in enumerate(shares, 1)]
    runs.sort(key=lambda run: -length(run[1], kind="live"))
    return {name: ["-m", "live", *files] for name, files in runs}


def files_elsewhere() -> list[str]:
    """Return the files of tests of which most start no service."""
    return [file for file in files_of(".") if Path(file).parts[1] not in LIVE]


def files_of(folder: str) -> list[str]:
    """Return the files of tests in a folder of tests/, and below."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / folder).rglob("test_*.py"))


def run_side_by_side(busy: Runs, waiting: Runs) -> Counter[str]:
    """Run pytest with each of these arguments in order, LANES of each sort at a time, and return the counts.

    A lane that has no more runs of its sort takes the other's. Runs that compute leave the processors to those that measure.
    """
    compute, wait = deque(busy.items()), deque(waiting.items())

    def lane(own: deque[tuple[str, list[str]]], other: deque[tuple[str, list[str]]]) -> Counter[str]:
        counts: Counter[str] = Counter()
        with suppress(IndexError):
            while True:
                name, arguments = (own or other).popleft()
                counts += run_pytest(arguments, name=name, quiet=True, nice=NICE if name in busy else 0)
        return counts

    with ThreadPoolExecutor() as pool:
        lanes = [pool.submit(lane, *order) for order in ((compute, wait), (wait, compute)) for _ in range(LANES)]
        return sum((future.result() for future in lanes), Counter())


def run_pytest(arguments: Iterable[str], *, name: str = "tests", quiet: bool = False, nice: int = 0) -> Counter[str]:
    """Run pytest and return how many tests passed, failed and were skipped. A crash of pytest is a failure.

    A quiet run prints how far it is, a line at its end, the reasons of skipped tests and, if a test failed, its output.
    """
    report = REPORTS / f"{re.sub(r'[^a-z_0-9]+', '-', name)}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = ["nice", f"-n{nice}", sys.executable, "-m", "pytest", "-q", "-rs", f"--junitxml={report}", *arguments]
    start = time.monotonic()
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if quiet else {}
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, text=True, **output) as process:
        shown = list(followed(process.stdout or (), name=name))
    counts = counted(report)
    if process.returncode != 0 and not counts["failed"]:
        counts["failed"] += 1
    if quiet:
        word = "FAIL" if counts["failed"] else "ok  "
        print(f"{word} {time.monotonic() - start:6.1f} s  {name} ({counts['passed']} passed)", flush=True)
        if not counts["failed"]:
            shown = [line for line in shown if line.startswith("SKIPPED")]
        print("".join(shown), end="", flush=True)
    return counts


def followed(lines: Iterable[str], *, name: str) -> Iterator[str]:
    """Yield the lines of a run of pytest; print every fifth of the way."""
    fifth = 0
    for line in lines:
        yield line
        far = re.fullmatch(r"[.sFEx]+ +\[ *(\d+)%\]\n", line)
        if far and fifth < int(far[1]) // 20 < 5:
            fifth = int(far[1]) // 20
            print(f"     {far[1]:>5} %  {name}", flush=True)


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
    parser.add_argument("--checks", action="store_true", help="run the checks of the code alone")
    parser.add_argument(
        "--fast",
        action="store_true",
        help="leave out the tests that start the service (mark: live), and the slowest files of tests",
    )
    parser.add_argument(
        "--soak", action="store_true", help="repeat each fault many times, and run randomised tests longer"
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files, folders or test ids for pytest")
    options, others = parser.parse_known_args()
    start = time.monotonic()
    counts: Counter[str] = Counter()
    if not options.paths:
        for report in REPORTS.glob("*.xml"):
            report.unlink()
        print("checks:", flush=True)
        try:
            counts += run_stages()
        except StackError as error:
            print(error, file=sys.stderr)
            counts["failed"] += 1
        print(f"       {time.monotonic() - start:6.1f} s  all checks", flush=True)
    soak = ["--soak"] if options.soak else []
    if options.paths:
        counts += run_pytest([*soak, *others, *options.paths])
    elif not options.checks:
        busy, waiting = quick_runs(fast=options.fast), Runs()
        if not options.fast:
            busy, waiting = busy_runs() | busy, waiting_runs()  # the longest first
        for arguments in (*busy.values(), *waiting.values()):
            arguments[:0] = [*soak, *others]
        counts += run_side_by_side(busy, waiting)
    print(f"{time.monotonic() - start:.0f} s in total")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped", flush=True)
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
