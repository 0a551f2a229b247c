"""How gunicorn serves the application: threads, limits, and a stop that loses nothing.

On SIGTERM a web process first drains: for two health intervals it goes on serving but is not ready, so that the load
balancer stops choosing it; then it stops accepting, finishes what is in flight and exits. Everything fits into 26
seconds; hosts kill at 30. An instance that nobody asks, not even for its health, has nobody to tell and does not drain.
"""

import gc
import logging
import mmap
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # gunicorn reads this file before it sets the path

from gunicorn import glogging
from gunicorn.workers import gthread

from settings.env import ENVIRONMENT, select_settings

ENVIRONMENT.require_valid()
select_settings()

DRAIN_SECONDS = 0.0 if ENVIRONMENT.name == "dev" else 2.5  # two health intervals of the edge, and a little
# Balancers ask for an instance's health, or send it requests, more often than this: the longest usual interval is 10 seconds.
ASKED_SECONDS = 15.0
if ENVIRONMENT.name == "dev":  # one person's browser, whose open connections a stop need not wait for
    gthread.STOP_KEEPALIVE_LINGER = 0.0
_ASKED = mmap.mmap(-1, 8)  # anonymous and shared by all processes of the instance: when one of them last had a request


class Log(glogging.Logger):
    """gunicorn's own few lines in the shape of all others; access lines are the application's."""

    def setup(self, cfg: Any) -> None:
        from apps.practices.observability.logs import LineHandler, line_formatter

        super().setup(cfg)
        handler = LineHandler()
        handler.setFormatter(line_formatter("console" if ENVIRONMENT.name == "dev" else "json"))
        self.error_log.handlers = [handler]
        self.error_log.propagate = False
        self.error_log.setLevel(max(logging.getLevelNamesMapping()[ENVIRONMENT["LOG_LEVEL"]], self.loglevel))


_BIND: str = ENVIRONMENT["BIND"]
bind = _BIND if _BIND.startswith("unix:") else f"{_BIND}:{ENVIRONMENT['PORT']}"
worker_class = "project.threads.Worker"  # gthread, which waits for slow clients within bounds
sendfile = False  # which would wait for a client without a bound
workers = ENVIRONMENT["WEB_CONCURRENCY"]
threads = ENVIRONMENT["WEB_THREADS"]
worker_connections = 1000
backlog = 512
# Loaded once, before the fork: less memory, faster processes, and a mistake ends the server at once. Nothing connects
# at import.
preload_app = True
timeout = 60
graceful_timeout = 23  # counted from SIGTERM by the master: the drain, then 20 seconds for what is in flight
# Longer than whoever is before it keeps an idle connection, who would else write a request into one that we just closed:
# Caddy 30 seconds (deploy/Caddyfile), Heroku's router 90 (Heroku Dev Center, HTTP Routing, Keepalives).
keepalive = 95
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 8190
# No peer may set the scheme through gunicorn; the application reads it from a trusted proxy itself.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
control_socket_disable = True  # two instances on one machine would share its path
accesslog = None
logger_class = Log
proc_name = "shipshape"


def when_ready(server: Any) -> None:
    """Before the first fork: import the routes, so that no first request waits for them."""
    from django.urls import get_resolver

    _ = get_resolver().url_patterns


def pre_request(worker: Any, request: Any) -> None:
    """Note when the instance was last asked for something, by the clock that all its processes share."""
    struct.pack_into("d", _ASKED, 0, time.monotonic())


def post_worker_init(worker: Any) -> None:
    """Put the drain before gunicorn's own handling of SIGTERM."""
    from apps.operations import lifecycle

    stop = worker.handle_exit
    started = time.monotonic()

    def drain(number: int, frame: FrameType | None) -> None:
        if lifecycle.is_draining():
            return  # The host signalled every process, and the master passed it on too.
        lifecycle.drain()
        asked = max(started, *struct.unpack_from("d", _ASKED))
        seconds = DRAIN_SECONDS if time.monotonic() - asked < ASKED_SECONDS else 0.0
        timer = threading.Timer(seconds, worker.method_queue.defer, (stop, number, frame))  # in the main loop
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, drain)
    signal.siginterrupt(signal.SIGTERM, False)


def worker_exit(server: Any, worker: Any) -> None:
    """Hand in the last second's metrics and close connections. Nothing is lost for good where this does not run."""
    from apps.operations.shutdown import process_shutdown

    process_shutdown()
    gc.freeze()  # the interpreter's end looks for garbage three times: a third of a second for what is given back anyway


def on_exit(server: Any) -> None:
    """End the master as fast."""
    gc.freeze()
