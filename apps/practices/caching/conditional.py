"""Conditional requests (RFC 9110, 13): entity tags, If-None-Match and If-Match.

An entity tag is ``"<version>.<hash of the bytes>"``, or the hash alone where there is no version. Edges that compress weaken
it (``W/``) or append ``-gzip``; neither changes what it names, so both are ignored.
"""

import hashlib
import re
from typing import TypeVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.practices.errors import Malformed, PreconditionFailed

_TAG = re.compile(r'\s*(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')
_VERSIONED = re.compile(r"(\d{1,18})\.[0-9a-f]+(?:-[a-z]+)?")
_SUFFIX = re.compile(r"-(?:gzip|br|zstd|deflate)$")
Response = TypeVar("Response", bound=HttpResponseBase)
LONGEST = 1024  # characters of a header that are looked at


def etag(body: bytes, version: int | None = None) -> str:
    """The entity tag of ``body``, quoted. 64 bits of hash: it tells representations apart, it does not protect anything."""
    digest = hashlib.blake2b(body, digest_size=8).hexdigest()
    return f'"{digest}"' if version is None else f'"{version}.{digest}"'


def etag_add(request: HttpRequest, response: HttpResponseBase) -> None:
    """Give a rendered answer its ETag: a read's, or a write's that says its version, unless it has one or nobody may keep it."""
    version = getattr(response, "entity_version", None)
    reads = request.method in ("GET", "HEAD") and response.status_code == 200
    if (
        response.streaming
        or response.has_header("ETag")
        or not (reads or (version is not None and response.status_code < 300))
    ):
        return
    storable = "no-store" not in response.get("Cache-Control", "")
    if storable and response.get("Content-Type", "").startswith("application/json"):
        response.headers["ETag"] = etag(response.content, version)  # type: ignore[attr-defined]  # not streaming


def none_match(request: HttpRequest, current: str) -> bool:
    """Whether If-None-Match names ``current``, so that 304 is the answer."""
    header = request.META.get("HTTP_IF_NONE_MATCH", "")
    if not header:
        return False
    if header.strip() == "*":
        return True
    return bare(current.strip('"')) in {bare(tag) for tag in tags_of(header) or ()}


def if_match_version(request: HttpRequest, *, current: int) -> int | None:
    """Return the version that If-Match names, for the service's ``UPDATE … WHERE version=``; for a write to what exists.

    ``current``: the version that was read for the write. Call this once the caller may write and the body has been read,
    before anything is said about what the body holds: 401, 403, 404, 413 and 415 come before 412, which comes before
    refusals of values and conflicts (RFC 9110, 13.2.1). The UPDATE still decides between two writers at once.

    None without the header and for ``*``. PreconditionFailed (412) when the tags name another version, several, or none that
    this service has given, and for ``If-None-Match: *``, which asks for a write only where there is nothing; Malformed (400)
    when the header cannot be read. The hash is not compared: two representations of one version are equal.
    """
    refuse_if_any(request)
    header = request.META.get("HTTP_IF_MATCH")
    if header is None or header.strip() == "*":
        return None
    tags = tags_of(header)
    if not tags:
        raise Malformed('If-Match takes entity tags as ETag gave them: "7.0123456789abcdef".')
    versions = {match[1] for tag in tags if (match := _VERSIONED.fullmatch(tag))}
    if versions != {str(current)}:
        raise PreconditionFailed()
    return current


def refuse_if_any(request: HttpRequest) -> None:
    """Raise PreconditionFailed for ``If-None-Match: *`` on a write to what exists (RFC 9110, 13.1.2)."""
    if request.META.get("HTTP_IF_NONE_MATCH", "").strip() == "*":
        raise PreconditionFailed("If-None-Match: * asks for a write where there is nothing, and there is something.")


def tags_of(header: str) -> list[str] | None:
    """The opaque parts of a list of entity tags; None when the header is not such a list."""
    if len(header) > LONGEST:
        return None
    found, position = [], 0
    while position < len(header):
        match = _TAG.match(header, position)
        if match is None:
            return None
        found.append(match[1])
        position = match.end()
    return found


def bare(tag: str) -> str:
    """An opaque tag without what a compressing edge appended."""
    return _SUFFIX.sub("", tag)


def with_version(response: Response, version: int) -> Response:
    """Tell ``etag_add`` which version of its thing an answer shows."""
    response.entity_version = version  # type: ignore[attr-defined]  # read once the bytes are known
    return response
