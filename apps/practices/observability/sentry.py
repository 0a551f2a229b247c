"""Error reports to Sentry, redacted like the logs."""

from typing import Any

import sentry_sdk
from django.conf import settings
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.types import Event, Hint
from structlog.types import EventDict, WrappedLogger

from apps.practices.errors import Problem
from apps.practices.mechanisms.ids import current_request_id
from apps.practices.observability.farewell import sent_at_the_end
from apps.practices.observability.redaction import redact


def start(*, dsn: str) -> None:
    """Start the client: errors only, without local variables, bodies or addresses, each through ``before_send``."""
    sentry_sdk.init(
        dsn=dsn,
        environment=settings.ENVIRONMENT_NAME,
        release=settings.OBSERVABILITY_RELEASE,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        auto_session_tracking=False,
        auto_enabling_integrations=False,
        integrations=[DjangoIntegration(), CeleryIntegration()],
        ignore_errors=[Problem],  # an expected response, not a bug
        before_send=before_send,
        shutdown_timeout=2,
    )
    sent_at_the_end(sentry_sdk.get_client().close)


def before_send(event: Event, _: Hint) -> Event:
    """Return the report redacted and tagged with the request id."""
    request_id = current_request_id()
    cleaned: dict[str, Any] = redact(dict(event))
    if request_id is not None:
        cleaned["tags"] = {**(cleaned.get("tags") or {}), "request_id": request_id}
    cleaned.pop("user", None)
    cleaned.pop("server_name", None)
    return cleaned  # type: ignore[return-value]  # the same shape, its values cleaned


def report_exception(_: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Report the exception that an error line carries (structlog processor).

    Handled errors become problem documents and never reach Django's own hook. Sentry drops duplicates.
    """
    exc_info = event.get("exc_info")
    if exc_info and method in ("error", "exception", "critical"):
        sentry_sdk.capture_exception(None if exc_info is True else exc_info)
    return event
