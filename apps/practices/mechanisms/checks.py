"""The system check of the mechanisms, for all practices: their middlewares, in their order."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

ORDER = (
    "apps.practices.mechanisms.facts.RequestFactsMiddleware",
    "apps.practices.observability.middleware.ObservabilityMiddleware",
    "apps.practices.headers.middleware.HeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "apps.practices.headers.middleware.PolicyMiddleware",
    "apps.practices.errors.middleware.ProblemMiddleware",
    "apps.practices.throttling.middleware.ThrottlingMiddleware",
    "apps.practices.headers.middleware.OriginMiddleware",
    "apps.practices.https.middleware.HostMiddleware",
    "apps.practices.https.middleware.HttpsMiddleware",
    "apps.practices.validation.middleware.BodyMiddleware",
    "apps.practices.validation.middleware.RequestBoundsMiddleware",
    "apps.practices.caching.middleware.ConditionalMiddleware",
    "apps.practices.caching.middleware.CachingMiddleware",
)


@register(Tags.security, "mechanisms")
def check_middlewares(**_: Any) -> list[CheckMessage]:
    """Report E001: a middleware of the practices is missing or out of order, or one of Django or an app is above them."""
    found = [name for name in settings.MIDDLEWARE if name in ORDER]
    first = next((name for name in settings.MIDDLEWARE if name.startswith(("apps.", "django.", "project."))), None)
    if found == list(ORDER) and first == ORDER[0]:
        return []
    hint = f"List these in MIDDLEWARE, in this order, with nothing of Django or an app above them: {', '.join(ORDER)}."
    return [Error("Middlewares of the practices are missing or out of order.", hint=hint, id="mechanisms.E001")]
