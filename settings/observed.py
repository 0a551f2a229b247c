"""The environment variables of observability: logs, traces, metrics and error reports (see ``variables.py``)."""

from settings import kinds, urls
from settings.variable import Variable, integer

OBSERVABILITY = (
    Variable(
        "SENTRY_DSN", "The Sentry project that errors are reported to. Unset: no reports.", urls.sentry_dsn, secret=True
    ),
    Variable(
        "METRICS_TOKEN",
        "The bearer token for /metrics, 24 random characters or more. Unset: /metrics is closed.",
        secret=True,
    ),
    Variable(
        "LOG_LEVEL",
        "The lowest level that is logged: DEBUG, INFO, WARNING or ERROR.",
        kinds.choice("DEBUG", "INFO", "WARNING", "ERROR"),
        default="INFO",
    ),
    Variable(
        "LOG_ADDRESSES",
        "How client addresses are logged: full, truncated (/24, /48) or none.",
        kinds.choice("full", "truncated", "none"),
        default="truncated",
    ),
    integer(
        "SLOW_REQUEST_MS",
        "Requests that take longer are logged as warnings, in milliseconds. 0: none are.",
        default=1000,
        at_least=0,
    ),
    integer(
        "SLOW_QUERY_MS",
        "Statements in PostgreSQL that take longer are logged, without their values, in milliseconds. 0: none are.",
        default=500,
        at_least=0,
    ),
    Variable(
        "TRACE_CALLERS",
        "The networks whose requests may continue a trace (traceparent), or proxies: those of TRUSTED_PROXIES. Unset: none.",
        kinds.callers,
    ),
)
