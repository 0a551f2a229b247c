"""The end of a process: it drains, then sends and closes what is left."""

import sys
from threading import Event

from django.db import connections

from apps.practices.mechanisms import metrics_flusher

_draining = Event()


def drain() -> None:
    """Mark this process as draining. It is not ready from now on."""
    _draining.set()


def is_draining() -> bool:
    return _draining.is_set()


def process_shutdown() -> None:
    """Send the last metrics and error reports, and close every connection. Takes at most about four seconds."""
    metrics_flusher.shutdown()
    sentry = sys.modules.get("sentry_sdk")  # imported only where SENTRY_DSN is set
    if sentry is not None:
        sentry.flush(timeout=2)
    for connection in connections.all():  # the pool belongs to the process, not to this thread
        connection.close()
        close_pool = getattr(connection, "close_pool", None)
        if close_pool is not None:
            close_pool()
