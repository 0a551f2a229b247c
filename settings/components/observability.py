"""observability (135): log lines, error reports, metrics."""

from settings.env import ENVIRONMENT

LOGGING_CONFIG = "apps.practices.observability.setup.configure"
OBSERVABILITY_LOG_LEVEL = ENVIRONMENT["LOG_LEVEL"]
OBSERVABILITY_LOG_STYLE = "console" if ENVIRONMENT.name == "dev" else "json"
OBSERVABILITY_ADDRESSES = ENVIRONMENT["LOG_ADDRESSES"]
OBSERVABILITY_SENTRY_DSN = ENVIRONMENT["SENTRY_DSN"]
OBSERVABILITY_RELEASE = None  # set it to your build's name; None lets Sentry look at the host's own variables
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
        # Django brings handlers of its own; our root has the only one.
        "django": {"handlers": [], "propagate": True},
        "django.server": {"handlers": [], "propagate": True, "level": "WARNING"},
        # Every 4xx has its access line already; what is left are tracebacks of 5xx.
        "django.request": {"handlers": [], "propagate": True, "level": "ERROR"},
        # A stranger's Host header is their mistake, not an error of ours.
        "django.security.DisallowedHost": {"handlers": [], "propagate": False},
    },
}

# The request id travels in the headers of each Celery message and comes back in the worker's lines.
DJANGO_STRUCTLOG_CELERY_ENABLED = True
