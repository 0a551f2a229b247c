"""Conditional requests (RFC 9110, 13): entity tags, If-None-Match and If-Match.

An entity tag is ``"<version>.<hash of the bytes>"``, or the hash alone where there is no version. A proxy that compresses
makes the tag weak (``W/``) or appends ``-gzip``; comparisons ignore both.
"""

import hashlib
import re
from typing import TypeVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.practices.errors import Malformed, PreconditionFailed
from apps.practices.mechanisms.responses import header_of, header_set

_TAG = re.compile(r'\s*(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')
_VERSIONED = re.compile(r"(\d{1,18})\.[0-9a-f]+(?:-[a-z]+)?")
_SUFFIX = re.compile(r"-(?:gzip|br|zstd|deflate)$")
Response = TypeVar("Response", bound=HttpResponseBase)
LONGEST = 1024  # characters of If-Match and If-None-Match


def etag(body: bytes, version: int | None = None) -> str:
    """Return the entity tag of ``body``, quoted. Its 64-bit hash tells representations apart; it is not a signature."""
    digest = hashlib.blake2b(body, digest_size=8).hexdigest()
    return f'"{digest}"' if version is None else f'"{version}.{digest}"'


def etag_add(request: HttpRequest, response: HttpResponseBase) -> None:
    """Add an ETag to a rendered JSON response to a read, or to a write with a version, unless it has one or is ``no-store``."""
    version = getattr(response, "entity_version", None)
    reads = request.method in ("GET", "HEAD") and response.status_code == 200
    if (
        response.streaming
        or header_of(response, "etag") is not None
        or not (reads or (version is not None and response.status_code < 300))
    ):
        return
    storable = "no-store" not in (header_of(response, "cache-control") or "")
    if storable and (header_of(response, "content-type") or "").startswith("application/json"):
        header_set(response, "ETag", etag(response.content, version))  # type: ignore[attr-defined]  # not streaming


def none_match(request: HttpRequest, current: str) -> bool:
    """Return whether If-None-Match contains the tag ``current``, which calls for a 304."""
    header = request.META.get("HTTP_IF_NONE_MATCH", "")
    if not header:
        return False
    if header.strip() == "*":
        return True
    return bare(current.strip('"')) in {bare(tag) for tag in tags_of(header) or ()}


def if_match_version(request: HttpRequest, *, current: int) -> int | None:
    """Return the version in If-Match, for the service's ``UPDATE … WHERE version=``; None without the header and for ``*``.

    ``current`` is the version that was read for the write. Call this after authorization and after reading the body, but
    before validating it: 401, 403, 404, 413 and 415 come before 412, and 412 before invalid values and conflicts
    (RFC 9110, 13.2.1). The UPDATE still decides between two concurrent writers.

    Raise PreconditionFailed (412) if the tags name another version, several or none, and for ``If-None-Match: *``;
    Malformed (400) if the header cannot be parsed. The hash is not compared: all representations of a version are equal.
    """
    refuse_if_any(request)
    header = request.META.get("HTTP_IF_MATCH")
    if header is None or header.strip() == "*":
        return None
    tags = tags_of(header)
    if not tags:
        raise Malformed('If-Match must hold entity tags as the ETag header gave them, such as "7.0123456789abcdef".')
    versions = {match[1] for tag in tags if (match := _VERSIONED.fullmatch(tag))}
    if versions != {str(current)}:
        raise PreconditionFailed()
    return current


def refuse_if_any(request: HttpRequest) -> None:
    """Raise PreconditionFailed for ``If-None-Match: *`` on a write to an existing resource (RFC 9110, 13.1.2)."""
    if request.META.get("HTTP_IF_NONE_MATCH", "").strip() == "*":
        raise PreconditionFailed("The resource exists, and If-None-Match: * allows the write only if it does not.")


def tags_of(header: str) -> list[str] | None:
    """Return the opaque parts of a list of entity tags; None if the header is not such a list."""
    if len(header) > LONGEST:
        return None
    tags, position = [], 0
    while position < len(header):
        match = _TAG.match(header, position)
        if match is None:
            return None
        tags.append(match[1])
        position = match.end()
    return tags


def bare(tag: str) -> str:
    """Return an opaque tag without the suffix of a compressing proxy."""
    return _SUFFIX.sub("", tag)


def with_version(response: Response, version: int) -> Response:
    """Store the version of the resource on its response, for ``etag_add``."""
    response.entity_version = version  # type: ignore[attr-defined]  # read by etag_add, once the body is rendered
    return response
