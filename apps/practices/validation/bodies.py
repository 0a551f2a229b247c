"""Bodies of unknown length."""

import tempfile

from django.conf import settings
from django.core.handlers.wsgi import LimitedStream
from django.http import HttpRequest

CHUNK = 64 * 1024


def chunked(request: HttpRequest) -> bool:
    """Tell whether a body follows whose length the request does not state (RFC 9112, section 7.1)."""
    return "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()


def spool(request: HttpRequest, bound: int) -> bool:
    """Read a chunked body, at most ``bound`` bytes of it, and give the request that body with its length.

    Django takes a request without Content-Length for one without a body. Beyond
    ``FILE_UPLOAD_MAX_MEMORY_SIZE`` the body is kept on disk. False when there is more than ``bound``.
    """
    source = request.META["wsgi.input"]
    body = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - the request reads it later; it is gone with the request
        max_size=settings.FILE_UPLOAD_MAX_MEMORY_SIZE
    )
    size = 0
    while chunk := source.read(min(CHUNK, bound + 1 - size)):
        size += len(chunk)
        if size > bound:
            body.close()
            return False
        body.write(chunk)
    body.seek(0)
    request.META["CONTENT_LENGTH"] = str(size)
    request._stream = LimitedStream(body, size)  # type: ignore[attr-defined] # Django has no public way to give a request its body
    return True
