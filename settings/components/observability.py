"""observability (135): log lines, error reports, metrics."""

from settings.env import ENVIRONMENT
from settings.release import commit

LOGGING_CONFIG = "apps.practices.observability.setup.configure"
OBSERVABILITY_LOG_LEVEL = ENVIRONMENT["LOG_LEVEL"]
OBSERVABILITY_LOG_STYLE = "console" if ENVIRONMENT.name == "dev" else "json"
OBSERVABILITY_ADDRESSES = ENVIRONMENT["LOG_ADDRESSES"]
OBSERVABILITY_SENTRY_DSN = ENVIRONMENT["SENTRY_DSN"]
OBSERVABILITY_SENTRY_SAMPLE_RATE: float = ENVIRONMENT["SENTRY_SAMPLE_RATE"]
OBSERVABILITY_SENTRY_TRACES_SAMPLE_RATE: float = ENVIRONMENT["SENTRY_TRACES_SAMPLE_RATE"]
OBSERVABILITY_RELEASE: str | None = ENVIRONMENT["RELEASE"] or commit()
OBSERVABILITY_SLOW_REQUEST_SECONDS: float = ENVIRONMENT["SLOW_REQUEST_MS"] / 1000  # 0: none is
OBSERVABILITY_SLOW_QUERY_SECONDS: float = ENVIRONMENT["SLOW_QUERY_MS"] / 1000
OBSERVABILITY_TRACE_CALLERS: str | list[str] = ENVIRONMENT["TRACE_CALLERS"] or []  # networks, or "proxies"
OBSERVABILITY_ROLE = ENVIRONMENT["PROCESS_KIND"]
OBSERVABILITY_OTEL_ENDPOINT = ENVIRONMENT["OTEL_EXPORTER_OTLP_ENDPOINT"]
OBSERVABILITY_OTEL_HEADERS = ENVIRONMENT["OTEL_EXPORTER_OTLP_HEADERS"]
OBSERVABILITY_OTEL_SERVICE = ENVIRONMENT["OTEL_SERVICE_NAME"]
OBSERVABILITY_OTEL_TRACES = ENVIRONMENT["OTEL_TRACES_EXPORTER"]
OBSERVABILITY_OTEL_METRICS = ENVIRONMENT["OTEL_METRICS_EXPORTER"]
OBSERVABILITY_OTEL_INTERVAL_SECONDS: float = ENVIRONMENT["OTEL_METRIC_EXPORT_INTERVAL"] / 1000
OBSERVABILITY_ALERT_EMAILS: list[str] = ENVIRONMENT["ALERT_EMAILS"] or []
OBSERVABILITY_METRICS_TOKEN = ENVIRONMENT["METRICS_TOKEN"]
OBSERVABILITY_METRICS_PREFIX = f"{ENVIRONMENT['REDIS_PREFIX']}:metrics"
OBSERVABILITY_REDIS_URL = ENVIRONMENT["REDIS_URL"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "apps.practices.observability.logs.line_formatter", "style": OBSERVABILITY_LOG_STYLE},
    },
    "handlers": {
        "stderr": {"class": "apps.practices.observability.logs.LineHandler", "formatter": "line"},
    },
    "root": {"handlers": ["stderr"], "level": OBSERVABILITY_LOG_LEVEL},
    "loggers": {
        # Django adds handlers of its own; only the root logger has one here.
        "django": {"handlers": [], "propagate": True},
        "django.server": {"handlers": [], "propagate": True, "level": "WARNING"},
        # Every 4xx has an access line already. This leaves the tracebacks of 5xx.
        "django.request": {"handlers": [], "propagate": True, "level": "ERROR"},
        # A wrong Host header is an error of the client.
        "django.security.DisallowedHost": {"handlers": [], "propagate": False},
    },
}

# Celery messages carry the request id in their headers, so it is in the worker's log lines.
DJANGO_STRUCTLOG_CELERY_ENABLED = True
