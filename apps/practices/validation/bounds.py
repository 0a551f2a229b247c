"""How much a request may hold, by route: the view says it, and it holds before the body is read.

A view that needs other bounds than the settings' declares them::

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
    """The bounds of one view's requests; what is None follows the settings.

    ``body_bytes``: of the whole body, on the wire; a function when a setting decides. What is read into memory at once (JSON)
    is bounded by Django's ``DATA_UPLOAD_MAX_MEMORY_SIZE`` besides. ``json_depth`` and ``json_members``:
    levels, and values at all levels, of a JSON document. ``form_fields`` and ``files``: parts of a multipart form.
    """

    body_bytes: int | Callable[[], int] | None = None
    json_depth: int | None = None
    json_members: int | None = None
    form_fields: int | None = None
    files: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """What a request may hold, settings and the view's own bounds taken together."""

    body_bytes: int
    json_depth: int
    json_members: int
    form_fields: int
    files: int


def allowed_by(view: Any) -> Allowed:
    """Give what a view (class, instance, or None for none) allows."""
    own: Bounds = getattr(view, "bounds", None) or Bounds()
    size = own.body_bytes() if callable(own.body_bytes) else own.body_bytes
    return Allowed(
        body_bytes=_given(size, settings.VALIDATION_BODY_BYTES),
        json_depth=_given(own.json_depth, settings.VALIDATION_JSON_DEPTH),
        json_members=_given(own.json_members, settings.VALIDATION_JSON_MEMBERS),
        form_fields=_given(own.form_fields, settings.DATA_UPLOAD_MAX_NUMBER_FIELDS),
        files=_given(own.files, settings.DATA_UPLOAD_MAX_NUMBER_FILES),
    )


def body_bound(request: HttpRequest) -> int:
    """Return the largest body in bytes that the request's route takes; without a route, the general bound."""
    return allowed_by(view_of(request)).body_bytes


def _given(own: int | None, general: int) -> int:
    return general if own is None else own
