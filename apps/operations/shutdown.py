"""The end of a process: it drains, then sends and closes what is left."""

from threading import Event

from django.db import connections

from apps.practices.mechanisms import metrics_flusher
from apps.practices.observability.farewell import reports_send

_draining = Event()


def drain() -> None:
    """Mark this process as draining. It is not ready from now on."""
    _draining.set()


def is_draining() -> bool:
    return _draining.is_set()


def process_shutdown() -> None:
    """Send the last metrics, spans and error reports, and close every connection. Takes at most about four seconds."""
    metrics_flusher.shutdown()
    reports_send()
    for connection in connections.all():  # the pool belongs to the process, not to this thread
        connection.close()
        close_pool = getattr(connection, "close_pool", None)
        if close_pool is not None:
            close_pool()
