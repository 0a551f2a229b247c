"""The bounds of requests by view, which are applied before the body is read.

A view that needs other bounds than those in the settings declares them::

    class ArticleImports(StrictView):
        bounds = Bounds(body_bytes=lambda: settings.JOBS_IMPORT_MAX_BYTES, form_fields=5)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from apps.practices.mechanisms.facts import view_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The bounds of a view's requests; None means the bound in the settings.

    ``body_bytes``: the size of the body on the wire, or a function that returns it from a setting. Django's
    ``DATA_UPLOAD_MAX_MEMORY_SIZE`` also applies to bodies that are read into memory at once (JSON). ``json_depth`` and
    ``json_members``: levels, and values at all levels, of a JSON document. ``form_fields`` and ``files``: parts of a
    multipart form.
    """

    body_bytes: int | Callable[[], int] | None = None
    json_depth: int | None = None
    json_members: int | None = None
    form_fields: int | None = None
    files: int | None = None


# The settings that hold the bounds of views without their own.
_GENERAL = {
    "body_bytes": "VALIDATION_BODY_BYTES",
    "json_depth": "VALIDATION_JSON_DEPTH",
    "json_members": "VALIDATION_JSON_MEMBERS",
    "form_fields": "DATA_UPLOAD_MAX_NUMBER_FIELDS",
    "files": "DATA_UPLOAD_MAX_NUMBER_FILES",
}


def bound_of(view: Any, name: str) -> int:
    """Return a bound that applies to a view (class or instance; None without a view). ``name`` is a field of ``Bounds``."""
    own = getattr(getattr(view, "bounds", None), name, None)
    if own is None:
        own = getattr(settings, _GENERAL[name])
    bound: int = own() if callable(own) else own
    return bound


def body_bound(request: HttpRequest) -> int:
    """Return the largest body in bytes that the request's route takes; without a route, the general bound."""
    return bound_of(view_of(request), "body_bytes")
