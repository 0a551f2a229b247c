"""The setup of logging and reports. ``django.setup()`` calls ``configure`` first, so failures at boot are logged too."""

import logging.config
import threading
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
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
    if settings.OBSERVABILITY_OTEL_ENDPOINT:
        otel_start()
    logs.structlog_configure(
        style=settings.OBSERVABILITY_LOG_STYLE, level=settings.OBSERVABILITY_LOG_LEVEL, extra=extra
    )


def otel_start() -> None:
    """Start OpenTelemetry. Raise ImproperlyConfigured if it is not installed."""
    try:
        from apps.practices.observability import otel
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise ImproperlyConfigured(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed. Install it with pip install"
            " --require-hashes -r requirements/otel.txt, or unset the variable."
        ) from None
    otel.start()
