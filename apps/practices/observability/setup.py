"""The setup of logging and reports. ``django.setup()`` calls ``configure`` first, so failures at boot are logged too."""

import logging.config
import threading
from typing import Any

from django.conf import settings
from structlog.types import Processor

from apps.practices.observability import logs


def configure(config: dict[str, Any]) -> None:
    """Apply ``LOGGING``, configure structlog, and start Sentry where ``SENTRY_DSN`` is set (``LOGGING_CONFIG``)."""
    logging.config.dictConfig(config)
    if settings.OBSERVABILITY_LOG_STYLE == "json":
        # Python would print these as plain text.
        logging.captureWarnings(True)
        threading.excepthook = logs.thread_failed
    extra: list[Processor] = []
    if settings.OBSERVABILITY_SENTRY_DSN:
        # Imported only where it is used: the import takes a tenth of a second and much memory.
        from apps.practices.observability import sentry

        sentry.start(dsn=settings.OBSERVABILITY_SENTRY_DSN)
        extra.append(sentry.report_exception)
    logs.structlog_configure(
        style=settings.OBSERVABILITY_LOG_STYLE, level=settings.OBSERVABILITY_LOG_LEVEL, extra=extra
    )
