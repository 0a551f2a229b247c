"""System checks of the validation practice."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string
from rest_framework.settings import api_settings

from apps.practices.validation.parsers import Bounded

MIDDLEWARE = (
    "apps.practices.validation.middleware.BodyMiddleware",
    "apps.practices.validation.middleware.RequestBoundsMiddleware",
)

# Elements that run or load code. nh3 does not check the tags that a team adds.
ACTIVE_TAGS = frozenset(
    {"script", "style", "iframe", "object", "embed", "base", "form", "svg", "math", "meta", "link", "template"}
)
ACTIVE_SCHEMES = frozenset({"javascript", "data", "vbscript", "file"})


@register("validation")
def check_middleware(app_configs: Sequence[AppConfig] | None = None, **options: Any) -> list[CheckMessage]:
    """Require the bounds of requests and of their bodies (validation.E001)."""
    present = {import_string(path) for path in settings.MIDDLEWARE}
    if present.issuperset(map(import_string, MIDDLEWARE)):
        return []
    hint = f"List {MIDDLEWARE[0]}, then {MIDDLEWARE[1]}."
    return [Error("MIDDLEWARE does not bound the bodies of requests.", hint=hint, id="validation.E001")]


@register("validation")
def check_parsers(app_configs: Sequence[AppConfig] | None = None, **options: Any) -> list[CheckMessage]:
    """Require every default parser to be bounded (validation.E002)."""
    parsers: Any = api_settings.DEFAULT_PARSER_CLASSES  # classes at this point; the stubs have their names
    return [
        Error(
            f"The default parser {parser.__name__} does not bound the documents that it reads.",
            hint="Use the parsers in apps.practices.validation.parsers.",
            id="validation.E002",
        )
        for parser in parsers
        if not issubclass(parser, Bounded)
    ]


@register("validation")
def check_html(app_configs: Sequence[AppConfig] | None = None, **options: Any) -> list[CheckMessage]:
    """Refuse active content among the allowed HTML (validation.E003)."""
    attributes = {name for names in settings.VALIDATION_HTML_ATTRIBUTES.values() for name in names}
    active = sorted(
        {tag for tag in settings.VALIDATION_HTML_TAGS if tag in ACTIVE_TAGS}
        | {name for name in attributes if name.startswith("on") or name in {"style", "srcdoc", "formaction"}}
        | (set(settings.VALIDATION_URL_SCHEMES) & ACTIVE_SCHEMES)
    )
    if not active:
        return []
    return [
        Error(
            f"VALIDATION_HTML_* or VALIDATION_URL_SCHEMES allows active content: {', '.join(active)}.",
            id="validation.E003",
        )
    ]


@register("validation")
def check_sizes(app_configs: Sequence[AppConfig] | None = None, **options: Any) -> list[CheckMessage]:
    """Require Django's own bound of bodies, not below VALIDATION_BODY_BYTES (validation.E004)."""
    bound = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if bound is not None and bound >= settings.VALIDATION_BODY_BYTES:
        return []
    return [Error("DATA_UPLOAD_MAX_MEMORY_SIZE must be set to at least VALIDATION_BODY_BYTES.", id="validation.E004")]
