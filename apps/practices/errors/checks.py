"""System checks of the errors practice: every type is documented, and every error passes through the one handler."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.urls import get_resolver

from apps.practices.errors import problems

HANDLER = "apps.practices.errors.handler.handle"
CSRF_VIEW = "apps.practices.errors.views.csrf_failure"
HANDLERS = {
    400: "apps.practices.errors.views.bad_request",
    403: "apps.practices.errors.views.permission_denied",
    404: "apps.practices.errors.views.not_found",
    500: "apps.practices.errors.views.server_error",
}
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@register("errors")
def errors_check(**_: Any) -> list[CheckMessage]:
    """Check that each problem type is unique and has what its page shows, and that every error passes through this package."""
    return [*_types(), *_wiring()]


def _types() -> Iterator[Error]:
    for slug, count in Counter(cls.type for cls in problems.DECLARED).items():
        if count > 1:
            hint = "Use a different type for each class."
            yield Error(f"The problem type {slug!r} is declared {count} times.", hint=hint, id="errors.E001")
    for cls in problems.DECLARED:
        if not (cls.title and "explanation" in cls.__dict__ and _SLUG.fullmatch(cls.type) and 400 <= cls.status <= 599):
            hint = "Give the class a type (a slug), a title and an explanation; status is 400 to 599."
            yield Error("A problem class is incomplete.", hint=hint, obj=cls, id="errors.E002")


def _wiring() -> Iterator[Error]:
    if settings.REST_FRAMEWORK.get("EXCEPTION_HANDLER") != HANDLER:
        yield Error(f"REST_FRAMEWORK['EXCEPTION_HANDLER'] is not {HANDLER!r}.", id="errors.E004")
    if settings.CSRF_FAILURE_VIEW != CSRF_VIEW:
        yield Error(f"CSRF_FAILURE_VIEW is not {CSRF_VIEW!r}.", id="errors.E005")
    for status, path in HANDLERS.items():
        view = get_resolver().resolve_error_handler(status)
        if f"{view.__module__}.{view.__name__}" != path:
            yield Error(f"handler{status} of the URL configuration is not {path!r}.", id="errors.E006")
