"""Content negotiation of Django REST framework, decided once for each Accept header (``DEFAULT_CONTENT_NEGOTIATION_CLASS``)."""

from collections.abc import Sequence

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from apps.practices.mechanisms.requests import django_request

CHOICES_MAX = 256  # Accept headers; clients send a handful
HEADER_LENGTH = 200  # characters; longer ones are not remembered


class CachedNegotiation(DefaultContentNegotiation):
    """DRF's choice of a renderer. It depends on the Accept header and the renderers only, and parsing the header takes 25 µs."""

    def select_renderer(  # type: ignore[override]  # the stubs forbid None
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Return the renderer and the media type; raise ``NotAcceptable`` (406)."""
        accept = django_request(request).META.get("HTTP_ACCEPT", "*/*")
        if format_suffix or self.settings.URL_FORMAT_OVERRIDE or len(accept) > HEADER_LENGTH:
            return super().select_renderer(request, renderers, format_suffix)
        key = (accept, *map(type, renderers))
        choice = _choices.get(key)
        if choice is None:
            renderer, media_type = super().select_renderer(request, renderers, format_suffix)
            if len(_choices) >= CHOICES_MAX:
                _choices.clear()
            choice = _choices[key] = (renderers.index(renderer), media_type)
        return renderers[choice[0]], choice[1]


_choices: dict[tuple[object, ...], tuple[int, str]] = {}
