"""System checks of the mechanisms."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

FACTS = "apps.practices.mechanisms.facts.RequestFactsMiddleware"


@register(Tags.security, "mechanisms")
def check_facts(**_: Any) -> list[CheckMessage]:
    """Report E001: middlewares that would read a request's scheme before it is determined."""
    order = [name for name in settings.MIDDLEWARE if name.startswith(("apps.", "django.", "project."))]
    if order[:1] == [FACTS]:
        return []
    hint = f"List {FACTS} first in MIDDLEWARE. Those below read the scheme that it determines."
    return [
        Error("RequestFactsMiddleware is missing, or not the outermost middleware.", hint=hint, id="mechanisms.E001")
    ]
