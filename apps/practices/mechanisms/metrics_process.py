"""What this process says about itself: its role and release, its processor time and memory, and what others register."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil
from django.conf import settings

from apps.practices.mechanisms.metrics_numbers import add, field_of

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
    gauges: dict[str, float] = field(default_factory=dict)  # by the name of the metric


_gauges: dict[str, Callable[[], float]] = {}


def process_gauge(name: str, read: Callable[[], float]) -> None:
    """Add a number to the row of every process. ``read`` must be quick, and must not wait for anything."""
    _gauges[name] = read


class Heart:
    """Describes this process again and again. Make one in each process, after any fork."""

    def __init__(self) -> None:
        self.id = os.urandom(6).hex()
        self._process = psutil.Process()
        self._started = self._process.create_time()
        self._role: str = settings.OBSERVABILITY_ROLE
        self._cpu = 0.0
        self._at = time.monotonic()

    def beat(self) -> Process:
        """Return how the process is now, and count the processor time and the memory it has used since the last time."""
        own = self._process
        with own.oneshot():
            times, memory, threads = own.cpu_times(), own.memory_info().rss, own.num_threads()
            files = own.num_fds()
        now, cpu = time.monotonic(), times.user + times.system
        passed, used = max(now - self._at, 0.001), cpu - self._cpu
        self._cpu, self._at = cpu, now
        for name, amount in (("cpu_seconds", used), ("memory_byte_seconds", memory * passed)):
            add(field_of(f"shipshape_process_{name}_total", {"role": self._role}), amount)
        numbers = {
            CPU: cpu,
            CORES: round(used / passed, 3),
            MEMORY: memory,
            "process_open_fds": files,
            "process_threads": threads,
            **{name: read() for name, read in _gauges.items()},
        }
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
