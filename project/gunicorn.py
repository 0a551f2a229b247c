"""gunicorn's configuration: threads, limits, and a stop that loses nothing.

On SIGTERM a web process first drains: it serves for two more health intervals but is not ready, so that the load balancer
stops choosing it. Then it stops accepting, finishes the requests in flight and exits, all within 26 seconds; hosts kill after
30. An instance without any requests, health checks included, has no load balancer to wait for and does not drain.
"""

import gc
import logging
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # gunicorn reads this file before it sets the path

from gunicorn import glogging
from gunicorn.workers import gthread

from project.drain import asked, drain_on_sigterm
from settings.env import ENVIRONMENT, select_settings

ENVIRONMENT.require_valid()
select_settings()

if ENVIRONMENT.name == "dev":  # one person's browser, whose open connections a stop need not wait for
    gthread.STOP_KEEPALIVE_LINGER = 0.0


class Log(glogging.Logger):
    """Writes gunicorn's log lines in the format of all others. The application writes the access lines."""

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
worker_class = "project.threads.Worker"  # gthread with bounds on waiting for slow clients
sendfile = False  # it would wait for a client without a bound
workers = ENVIRONMENT["WEB_CONCURRENCY"]
threads = ENVIRONMENT["WEB_THREADS"]
worker_connections = 1000
backlog = 512
# Load the application once, before the fork: this saves memory and time, and an error ends the server at once. No import opens
# a connection.
preload_app = True
timeout = 60
graceful_timeout = 23  # counted by the master from SIGTERM: the drain, then 20 seconds for requests in flight
# Longer than the proxy in front keeps an idle connection, or it would write a request into one that was just closed: Caddy keeps
# it for 30 seconds (deploy/Caddyfile), Heroku's router for 90 (Heroku Dev Center, HTTP Routing, Keepalives).
keepalive = 95
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 8190
# No client can set the scheme through gunicorn. The application reads it from trusted proxies.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
control_socket_disable = True  # two instances on one machine would share its path
accesslog = None
logger_class = Log
proc_name = "shipshape"


def when_ready(server: Any) -> None:
    """Import the routes before the first fork, so that no first request waits for them."""
    from django.urls import get_resolver

    _ = get_resolver().url_patterns
    gc.collect()
    gc.freeze()  # all that was imported stays, so no collection in a process looks at it again (decision 0135)


def pre_request(worker: Any, request: Any) -> None:
    asked()


def post_worker_init(worker: Any) -> None:
    """Send metrics from the start. Drain before gunicorn's own handling of SIGTERM, which runs in the worker's main loop."""
    from apps.practices.mechanisms import metrics_flusher

    metrics_flusher.start()
    stop = partial(worker.method_queue.defer, worker.handle_exit, signal.SIGTERM, None)
    drain_on_sigterm(stop, drains=worker.share.leave)
    signal.siginterrupt(signal.SIGTERM, False)


def child_exit(server: Any, worker: Any) -> None:
    """Make room for the successor of a process that has ended. Called in the main process."""
    worker.share.leave()


def worker_exit(server: Any, worker: Any) -> None:
    """Send the metrics of the last second and close connections. If this does not run, at most these metrics are lost."""
    from apps.operations.shutdown import process_shutdown

    process_shutdown()
    gc.freeze()  # saves a third of a second: at exit the interpreter collects garbage three times


def on_exit(server: Any) -> None:
    """Skip garbage collection at the end of the master, too."""
    gc.freeze()
