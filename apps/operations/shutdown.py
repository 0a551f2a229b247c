"""The last steps of a process that ends cleanly."""

import sys

from django.db import connections

from apps.practices.mechanisms import metrics_store


def process_shutdown() -> None:
    """Send the last metrics and error reports, and close every connection. Takes at most about four seconds."""
    metrics_store.shutdown()
    sentry = sys.modules.get("sentry_sdk")  # imported only where SENTRY_DSN is set
    if sentry is not None:
        sentry.flush(timeout=2)
    for connection in connections.all():  # the pool belongs to the process, not to this thread
        connection.close()
        close_pool = getattr(connection, "close_pool", None)
        if close_pool is not None:
            close_pool()
