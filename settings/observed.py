"""The environment variables of observability: logs, traces, metrics and error reports (see ``variables.py``)."""

from settings import kinds, urls
from settings.variable import Variable, integer

OBSERVABILITY = (
    Variable(
        "SENTRY_DSN", "The Sentry project that errors are reported to. Unset: no reports.", urls.sentry_dsn, secret=True
    ),
    Variable(
        "SENTRY_SAMPLE_RATE",
        "The share of errors that is reported, from 0 to 1.",
        kinds.number(at_least=0, at_most=1),
        default="1",
    ),
    Variable(
        "SENTRY_TRACES_SAMPLE_RATE",
        "The share of requests and jobs whose timing is reported to Sentry, from 0 to 1.",
        kinds.number(at_least=0, at_most=1),
        default="0",
    ),
    Variable(
        "RELEASE",
        "The name of the running build, in error reports, metrics and the operations page. Unset: the commit of the checkout.",
    ),
    Variable(
        "METRICS_TOKEN",
        "The bearer token for /metrics, 24 random characters or more. Unset: /metrics is closed.",
        secret=True,
    ),
    Variable(
        "ALERT_EMAILS",
        "The addresses that get a mail when an alert fires and when it ends, separated by commas. Unset: no mails.",
        kinds.mailboxes,
    ),
    Variable(
        "LOG_LEVEL",
        "The lowest level that is logged: DEBUG, INFO, WARNING or ERROR.",
        kinds.choice("DEBUG", "INFO", "WARNING", "ERROR"),
        default="INFO",
    ),
    Variable(
        "LOG_ADDRESSES",
        "How client addresses are logged and kept for operators: full, truncated (/24, /48) or none.",
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
    Variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "The OpenTelemetry receiver (OTLP over HTTP) for traces and metrics. Unset: OpenTelemetry is not loaded.",
        urls.base_url("https", "http"),
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "Headers for the receiver, such as a key: name=value, separated by commas, percent-encoded.",
        secret=True,
    ),
    Variable("OTEL_SERVICE_NAME", "The service's name in traces. Defaults to SITE_NAME.", default="{SITE_NAME}"),
    Variable(
        "OTEL_TRACES_EXPORTER",
        "Whether traces are exported: otlp or none. OTEL_TRACES_SAMPLER selects which.",
        kinds.choice("otlp", "none"),
        default="otlp",
    ),
    Variable(
        "OTEL_METRICS_EXPORTER",
        "Whether metrics are exported: otlp or none.",
        kinds.choice("otlp", "none"),
        default="otlp",
    ),
    integer(
        "OTEL_METRIC_EXPORT_INTERVAL",
        "The time between two exports of metrics, in milliseconds.",
        default=60_000,
        at_most=3_600_000,
    ),
)
