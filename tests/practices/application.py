"""An application of this process and one without its short cuts, asked in the same way, to compare what they answer."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import structlog
from structlog.testing import capture_logs

from apps.practices.mechanisms.metrics_numbers import field_read, numbers
from project.handler import Application

NOTES = "/api/v1/sample/notes"
HOST = "api.example.com"


class Seen(dict[str, Any]):
    """An environ that records which of its keys are read."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.read.add(str(key))
        return super().__contains__(key)


@dataclass(frozen=True)
class Sent:
    """All that a request has led to: its response, its access line, and what was counted."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes
    line: dict[str, Any]
    counted: dict[str, float]
    passes: int  # through the middlewares

    @property
    def shown(self) -> tuple[Any, ...]:
        """Return it without what differs in every request, after a check of that."""
        headers = dict(self.headers)
        line = {name: value for name, value in self.line.items() if name not in ("duration_ms", "request_id")}
        if self.line:  # that of liveness is written at DEBUG only
            assert self.line["request_id"] == headers["X-Request-ID"]
            assert self.line["duration_ms"] > 0
        left = re.sub(r";t=\d+", "", headers.get("RateLimit", ""))
        request_id = headers["X-Request-ID"]
        return (
            self.status,
            [(name, {"X-Request-ID": "", "RateLimit": left}.get(name, value)) for name, value in self.headers],
            self.body.replace(request_id.encode(), b""),
            line,
            self.counted,
        )


class Server:
    """An application with this module's way of asking it. Each has its own client, whom limits count apart."""

    def __init__(self, *, replays: bool) -> None:
        self.application = Application()
        assert self.application.replays.are_allowed
        assert self.application.reads.are_allowed
        self.application.replays.are_allowed = self.application.reads.are_allowed = replays
        self.address = "203.0.113.8" if replays else "203.0.113.9"
        self.passes = 0
        self.token: str | None = None
        get_response = self.application.get_response

        def counted(request: Any) -> Any:
            self.passes += 1
            return get_response(request)

        self.application.get_response = counted  # type: ignore[method-assign]

    def ask(self, path: str = NOTES, *, environ: type[dict[str, Any]] = dict, **fields: str) -> Sent:
        path, _, query = path.partition("?")
        if self.token is not None:
            fields = {"HTTP_AUTHORIZATION": f"Bearer {self.token}", **fields}
        asked = environ(
            {
                "REQUEST_METHOD": "GET",
                "SCRIPT_NAME": "",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "SERVER_NAME": "127.0.0.1",
                "SERVER_PORT": "8000",
                "SERVER_PROTOCOL": "HTTP/1.1",
                "REMOTE_ADDR": "127.0.0.1",
                "HTTP_HOST": HOST,
                "HTTP_X_FORWARDED_FOR": self.address,
                "HTTP_X_FORWARDED_PROTO": "https",
                "HTTP_USER_AGENT": "test",
                "wsgi.url_scheme": "http",
                "wsgi.input": io.BytesIO(b""),
                **fields,
            }
        )
        started: list[Any] = []
        before, passes = _counted(), self.passes
        with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
            response = self.application(asked, lambda *args: started.append(args))
            body = b"".join(response)
            if hasattr(response, "close"):
                response.close()
        [(status, headers)] = started
        line = next(({**line, "address": None} for line in lines if line["event"] == "request"), {})
        self.read = getattr(asked, "read", set())
        counted = {name: value - before.get(name, 0) for name, value in _counted().items() if value != before.get(name)}
        return Sent(status, list(headers), body, line, counted, self.passes - passes)


def _counted() -> dict[str, float]:
    """Return how often requests, cached values and refusals were counted, whatever the requests' durations."""
    names = (
        "http_server_request_duration_seconds_bucket",
        "shipshape_cache_lookups_total",
        "shipshape_throttled_total",
    )
    counted: dict[str, float] = {}
    for field, value in numbers().items():
        name, labels = field_read(field)
        if name in names:
            key = f"{name}{[label for label in labels if label[0] != 'le']}"
            counted[key] = counted.get(key, 0.0) + value
    return counted
