"""The row of this process: its role and release, its processor time and memory, and what others register."""

import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import psutil
from django.conf import settings

from apps.practices.mechanisms.metrics_numbers import add, field_of

# Names of Prometheus's own client libraries; OpenTelemetry's for processes are not stable yet.
CPU = "process_cpu_seconds_total"
MEMORY = "process_resident_memory_bytes"
CORES = "shipshape_process_cpu_cores"


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it was when it wrote its row. Moments are seconds since 1970."""

    id: str
    role: str  # web, worker or command
    host: str
    pid: int
    release: str
    started: float
    seen: float
    gauges: dict[str, float] = field(default_factory=dict)  # by series, as ``threads`` or ``connections{state="idle"}``


_sources: list[Callable[[], Mapping[str, float]]] = []
_SERIES = re.compile(r'(\w+)="([^"]*)"')


def process_gauge(name: str, read: Callable[[], float]) -> None:
    """Add a number to the row of every process. ``read`` must be quick and wait for nothing."""
    process_gauges(lambda: {name: read()})


def process_gauges(read: Callable[[], Mapping[str, float]]) -> None:
    """Add numbers to the row of every process, by series (``series``)."""
    _sources.append(read)


def series(name: str, **labels: str) -> str:
    """Return a series as Prometheus writes it. Label values are plain words."""
    written = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{written}}}" if written else name


def series_read(written: str) -> tuple[str, dict[str, str]]:
    """Return the name and the labels of a series."""
    name, _, labels = written.partition("{")
    return name, dict(_SERIES.findall(labels))


class Heart:
    """Describes this process again and again, and counts what it has used. Make one in each process, after any fork."""

    def __init__(self) -> None:
        self.id = os.urandom(6).hex()
        self._process = psutil.Process()
        self._started = self._process.create_time()
        self._role: str = settings.OBSERVABILITY_ROLE
        self._cpu = 0.0
        self._at = time.monotonic()

    def beat(self) -> Process:
        """Return how the process is now, and count the processor time and the memory that it has used since the last beat."""
        now, before = time.monotonic(), self._cpu
        passed = max(now - self._at, 0.001)
        found = self.look()
        self._cpu, self._at = found.gauges[CPU], now
        used = self._cpu - before
        for name, amount in (("cpu_seconds", used), ("memory_byte_seconds", found.gauges[MEMORY] * passed)):
            add(field_of(f"shipshape_process_{name}_total", {"role": self._role}), amount)
        found.gauges[CORES] = round(used / passed, 3)
        return found

    def look(self) -> Process:
        """Return how the process is now."""
        own = self._process
        with own.oneshot():
            times = own.cpu_times()
            numbers: dict[str, float] = {
                CPU: times.user + times.system,
                MEMORY: own.memory_info().rss,
                "process_open_fds": own.num_fds(),
                "process_threads": own.num_threads(),
            }
        for read in _sources:
            numbers.update(read())
        return Process(
            id=self.id,
            role=self._role,
            host=socket.gethostname(),
            pid=own.pid,
            release=settings.OBSERVABILITY_RELEASE or "",
            started=self._started,
            seen=time.time(),
            gauges=numbers,
        )
