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


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """The bounds that apply to a request: those of its view and of the settings."""

    body_bytes: int
    json_depth: int
    json_members: int
    form_fields: int
    files: int


def allowed_by(view: Any) -> Allowed:
    """Return the bounds that apply to a view (class or instance; None without a view)."""
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
