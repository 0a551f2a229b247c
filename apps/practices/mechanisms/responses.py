"""Headers that this code writes itself, without Django's validation of each: 0.2 µs instead of 1.5, for a dozen a response.

Only for values that contain nothing of a request: ASCII without line ends (docs/private-api.md).
"""

from functools import lru_cache

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers


def header_set(response: HttpResponseBase, name: str, value: str) -> None:
    """Set a header of a response."""
    response.headers._store[name.lower()] = (name, value)


def header_of(response: HttpResponseBase, name: str) -> str | None:
    """Return a header of a response, by its name in lower case, or None."""
    header = response.headers._store.get(name)
    return None if header is None else header[1]


def vary_add(response: HttpResponseBase, *names: str) -> None:
    """Add the names of request headers to Vary, as Django's ``patch_vary_headers`` does."""
    header_set(response, "Vary", _vary(header_of(response, "vary"), names))


@lru_cache(maxsize=256)
def _vary(before: str | None, names: tuple[str, ...]) -> str:
    response = HttpResponse(headers=None if before is None else {"Vary": before})
    patch_vary_headers(response, names)
    return response.headers["Vary"]
