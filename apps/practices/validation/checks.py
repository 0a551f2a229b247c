"""System checks of the validation practice."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from rest_framework.settings import api_settings

from apps.practices.validation.parsers import Bounded

# Elements that run or load code. nh3 does not check the tags that a team adds.
ACTIVE_TAGS = frozenset(
    {"script", "style", "iframe", "object", "embed", "base", "form", "svg", "math", "meta", "link", "template"}
)
ACTIVE_ATTRIBUTES = frozenset({"style", "srcdoc", "formaction"})
ACTIVE_SCHEMES = frozenset({"javascript", "data", "vbscript", "file"})


@register("validation")
def validation_check(**_: Any) -> list[CheckMessage]:
    """Check that documents are bounded, and that no active content is allowed in HTML."""
    return list(_errors())


def _errors() -> Iterator[Error]:
    parsers: Any = api_settings.DEFAULT_PARSER_CLASSES  # classes at this point; the stubs have their names
    for parser in parsers:
        if not issubclass(parser, Bounded):
            text = f"The default parser {parser.__name__} does not bound the documents that it reads."
            yield Error(text, hint="Use the parsers in apps.practices.validation.parsers.", id="validation.E002")
    if active := _active_content():
        text = f"VALIDATION_HTML_* or VALIDATION_URL_SCHEMES allows active content: {', '.join(sorted(active))}."
        yield Error(text, id="validation.E003")


def _active_content() -> set[str]:
    attributes = set().union(*settings.VALIDATION_HTML_ATTRIBUTES.values())
    handlers = {name for name in attributes if name.startswith("on")}
    schemes = ACTIVE_SCHEMES.intersection(settings.VALIDATION_URL_SCHEMES)
    return handlers | ACTIVE_ATTRIBUTES & attributes | ACTIVE_TAGS.intersection(settings.VALIDATION_HTML_TAGS) | schemes
