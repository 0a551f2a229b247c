"""The sample's production settings with each practice broken in one place, as a hasty change might."""

from tests.sample.settings import *  # noqa: F403 - all of it, a few values broken
from tests.sample.settings import DATABASES, MIDDLEWARE, REST_FRAMEWORK

_REMOVED = (
    "ObservabilityMiddleware",
    "HeadersMiddleware",
    "ProblemMiddleware",
    "ThrottlingMiddleware",
    "CachingMiddleware",
    "ConditionalMiddleware",
    "BodyMiddleware",
    "RequestBoundsMiddleware",
)
MIDDLEWARE = [entry for entry in MIDDLEWARE if not entry.endswith(_REMOVED)]
SECURE_SSL_REDIRECT = False
REST_FRAMEWORK = {
    **REST_FRAMEWORK,
    "EXCEPTION_HANDLER": "rest_framework.views.exception_handler",
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_THROTTLE_CLASSES": [],
}
JOBS_LEASE_SECONDS = 3600
RETENTION_IDEMPOTENCY = 0  # hours: each repetition is a new request
DATABASE_WAIT_SECONDS = 60
DATABASES["default"]["OPTIONS"]["options"] = "-c statement_timeout=0"
