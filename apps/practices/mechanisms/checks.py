"""System checks of the mechanisms."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

FACTS = "apps.practices.mechanisms.facts.RequestFactsMiddleware"


@register(Tags.security, "mechanisms")
def check_facts(**_: Any) -> list[CheckMessage]:
    """Require the scheme of a request to be known before Django's or our own middleware asks for it."""
    order = [name for name in settings.MIDDLEWARE if name.startswith(("apps.", "django.", "project."))]
    if order[:1] == [FACTS]:
        return []
    hint = f"List {FACTS} first: Django's SecurityMiddleware reads the scheme that it finds."
    return [Error("RequestFactsMiddleware is missing, or not the outermost.", hint=hint, id="mechanisms.E001")]
