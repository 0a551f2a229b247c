"""One request, as bytes on the wire and as a call of the WSGI application in this process."""

import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

# As the edge sends them.
_HEADERS = {"Host": "localhost", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to a web instance behind the edge."""

    method: str = "GET"
    path: str
    token: str | None = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def raw(self) -> str:
        """Return the request as it is sent, in Latin-1."""
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in self._fields().items())]
        return "\r\n".join([*lines, "", ""]) + self.body.decode("latin-1")

    def environ(self) -> dict[str, Any]:
        """Return what a server hands to the WSGI application (PEP 3333)."""
        path, _, query = self.path.partition("?")
        fields = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self._fields().items()}
        kind, length = fields.pop("HTTP_CONTENT_TYPE", ""), fields.pop("HTTP_CONTENT_LENGTH", "")
        return {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path),
            "QUERY_STRING": query,
            "RAW_URI": self.path,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": kind,
            "CONTENT_LENGTH": length,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **fields,
        }

    def _fields(self) -> dict[str, str]:
        fields = {**_HEADERS, **self.headers}
        if self.token:
            fields["Authorization"] = f"Bearer {self.token}"
        if self.body:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(self.body))}
        elif self.method != "GET":
            fields["Content-Length"] = "0"
        return fields


def application_load(log: Path) -> None:
    """Set Django up as a web process does. Its log lines, which go to descriptor 2, are written to a file."""
    sys.stderr = os.fdopen(os.dup(2), "w")
    with log.open("wb") as lines:
        os.dup2(lines.fileno(), 2)
    import project.wsgi  # noqa: F401 - as above


def call(request: Request, application: Any = None) -> bytes:
    """Call the application in this process and return the response's body. Raise RuntimeError unless the status is 2xx."""
    from project import wsgi

    application = application or wsgi.application
    seen: list[str] = []

    def start_response(status: str, headers: object, failure: object = None) -> None:
        seen.append(status)

    response = application(request.environ(), start_response)
    try:
        body = b"".join(response)
    finally:
        if hasattr(response, "close"):
            response.close()
    if not seen[0].startswith("2"):
        raise RuntimeError(f"{request.method} {request.path} was answered with {seen[0]}: {body[:500]!r}")
    return body


def list_declared(path: str, token: str | None = None) -> tuple[Any, Any]:
    """Return the ``KeysetList`` that answers a path, and the query that it read for its first page."""
    from tests.caches import caches_clear

    caches_clear()
    with _reads() as noted:
        call(Request(path=path, token=token))
    return noted[-1]


@contextmanager
def _reads() -> Iterator[list[tuple[Any, Any]]]:
    from apps.practices.database.lists import KeysetList

    noted: list[tuple[Any, Any]] = []
    read = KeysetList.read
    KeysetList.read = lambda self, query, *more, **values: (
        noted.append((self, query)),
        read(self, query, *more, **values),
    )[1]
    try:
        yield noted
    finally:
        KeysetList.read = read
