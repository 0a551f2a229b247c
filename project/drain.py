"""The drain of a web process, which both servers start on SIGTERM.

A process that drains serves as before but is not ready, so that the load balancer stops choosing it. After two health intervals
its server stops accepting. An instance without any requests, health checks included, has no load balancer to wait for.
"""

import mmap
import signal
import struct
import threading
import time
from collections.abc import Callable
from types import FrameType

from settings.env import ENVIRONMENT

DRAIN_SECONDS = 0.0 if ENVIRONMENT.name == "dev" else 2.5  # two health intervals of the edge, and a little
# Load balancers check an instance's health, or send it requests, more often than this: 10 seconds is the longest usual interval.
ASKED_SECONDS = 15.0
# The time of the instance's last request, in anonymous memory that its processes share: created before they are forked.
_ASKED = mmap.mmap(-1, 8)


def asked() -> None:
    """Store the time of the instance's last request, by the clock that all its processes share."""
    struct.pack_into("d", _ASKED, 0, time.monotonic())


def drain_on_sigterm(stop: Callable[[], object], drains: Callable[[], object] = lambda: None) -> None:
    """On SIGTERM call ``drains`` and drain, then call ``stop`` in a thread. Call it in the main thread of a new process."""
    from apps.operations import shutdown

    started = time.monotonic()

    def drain(number: int, frame: FrameType | None) -> None:
        if shutdown.is_draining():
            return  # The host signalled every process, and the master passed the signal on as well.
        shutdown.drain()
        drains()
        last = max(started, *struct.unpack_from("d", _ASKED))
        seconds = DRAIN_SECONDS if time.monotonic() - last < ASKED_SECONDS else 0.0
        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, drain)
