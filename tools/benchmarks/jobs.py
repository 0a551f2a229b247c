"""Compare jobs with plain Celery: the cost of a submission, a worker's throughput, and the loss by `kill -9`.

    python -m tools.benchmarks.jobs [--count 2000] 2>/dev/null    # where the lines of the log go

Starts PostgreSQL (which keeps what it has committed) and Valkey (in memory) of its own. A submission is timed in this process
(p50, p99), `job_submit` against `.delay()`. Throughput is that of one worker of the Procfile with jobs that do nothing, until
all are done, and until its queue holds no message either, against Celery's defaults with the same two processes. Loss is what
is not done 90 s after Redis, or the worker among its jobs, was killed and started again.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

import redis

from tools.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
PLAIN = """
import time
from celery import Celery
app = Celery("plain", broker={url!r}, broker_connection_retry_on_startup=True, task_ignore_result=True)
@app.task
def nothing(path, seconds):
    time.sleep(seconds)
    with open(path, "a") as file:
        file.write("x")
"""
HEAD = """\
| | submission p50 ms | p99 ms | jobs/s | until no message is left | lost with Redis | lost with the worker |
|---|---|---|---|---|---|---|"""
LOST_AFTER = 90  # seconds
KILLED = 100  # jobs in each loss
WORKER = (
    "worker",
    "--loglevel",
    "ERROR",
    "--concurrency",
    "3",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
)


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, metavar="N", help="jobs to submit and to run (2000)")
    options = parser.parse_args()
    environment = os.environ
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(Path(folder) / "ledger", ("postgresql",)) as ledger,
        Stack.temporary(("redis",)) as stack,
    ):
        environment.update(ledger.state.urls | stack.state.urls, DJANGO_SETTINGS_MODULE="settings.test")
        environment.pop("DJANGO_ENV", None)
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        print(HEAD, flush=True)
        for side in (Plain(stack, Path(folder)), Ours(stack)):
            p50, p99, rate, emptied = measured(side, options.count)
            lost = [loss(side, stack, what) for what in ("redis", "worker")]
            print(
                f"| {side.name} | {p50:.2f} | {p99:.2f} | {rate:.0f} | {emptied:.0f} | {lost[0]} | {lost[1]} |",
                flush=True,
            )
    return 0


class Plain:
    """Celery with its defaults."""

    name = "plain `.delay()`"

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.folder = folder
        self.done_file = folder / "done"
        self.url = stack.state.urls["REDIS_URL"].removesuffix("/0") + "/5"
        self.queue = redis.Redis.from_url(self.url), "celery"
        (folder / "plain.py").write_text(PLAIN.format(url=self.url))
        sys.path.insert(0, str(folder))
        import plain

        self.task = plain.nothing

    def submit(self, seconds: float) -> None:
        self.task.delay(str(self.done_file), seconds)

    def done(self) -> int:
        return self.done_file.stat().st_size if self.done_file.exists() else 0

    def clear(self) -> None:
        self.done_file.unlink(missing_ok=True)

    def worker(self) -> subprocess.Popen[bytes]:
        return started(["-A", "plain", *WORKER], self.folder, DJANGO_SETTINGS_MODULE="")


class Ours:
    """The jobs of this project."""

    name = "`job_submit()`"

    def __init__(self, stack: Stack) -> None:
        from django.conf import settings

        prefix = settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"]
        self.queue = redis.Redis.from_url(stack.state.urls["REDIS_URL"]), f"{prefix}default"

    def submit(self, seconds: float) -> None:
        from apps.jobs.services import job_submit

        if seconds:
            job_submit(kind="sample.count", owner=None, parameters={"seconds": seconds})
        else:
            job_submit(kind="sample.nothing", owner=None, parameters={})

    def done(self) -> int:
        from apps.jobs.models import Job

        return Job.objects.filter(state="succeeded", kind__startswith="sample.").count()

    def clear(self) -> None:
        from apps.jobs.models import Job

        Job.objects.all().delete()

    def worker(self) -> subprocess.Popen[bytes]:
        return started(["-A", "project", *WORKER], ROOT)


def started(arguments: list[str], folder: Path, **more: str) -> subprocess.Popen[bytes]:
    """Start a worker in its own session."""
    environment = {**os.environ, "REMAP_SIGTERM": "SIGQUIT", "PROCESS_KIND": "worker", **more}
    command = [sys.executable, "-m", "celery", *arguments]
    return subprocess.Popen(  # noqa: S603 - argv is constant
        command,
        cwd=folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextmanager
def working(side: Plain | Ours) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker and end it."""
    worker = side.worker()
    try:
        yield worker
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(10)


def measured(side: Plain | Ours, count: int) -> tuple[float, float, float, float]:
    """Return a submission's milliseconds (p50, p99), and jobs per second until all are done and until the queue is empty."""
    side.clear()
    with working(side):
        side.submit(0)
        until(lambda: side.done() == 1, 60)
    side.clear()
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        side.submit(0)
        taken.append((time.perf_counter() - start) * 1000)
    cuts = quantiles(taken, n=100)
    with working(side):
        until(lambda: side.done() > 0, 60)
        first, start = side.done(), time.perf_counter()
        until(lambda: side.done() >= count, 300)
        rate = (count - first) / (time.perf_counter() - start)
        broker, queue = side.queue
        until(lambda: not broker.llen(queue), 300)
        emptied = (count - first) / (time.perf_counter() - start)
    return cuts[49], cuts[98], rate, emptied


def loss(side: Plain | Ours, stack: Stack, what: str) -> str:
    """Kill Redis or the worker among the jobs, start it again, and return how many jobs were lost."""
    side.clear()
    with working(side) as worker:
        for _ in range(KILLED):
            side.submit(0.05)
        until(lambda: side.done() >= KILLED // 10, 60)
        if what == "redis":
            stack.servers["redis"].kill()
            stack.servers["redis"].start()
        else:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(10)
        with working(side):
            until(lambda: side.done() >= KILLED, LOST_AFTER)
            return f"{max(KILLED - side.done(), 0)} of {KILLED}"


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until a condition is true or the time is up."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
