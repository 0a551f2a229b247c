"""An HTTP client for the private stack: trusts the stack's own certificate authority and follows no redirect."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One response. Without one, ``status`` is 0 and the body holds the reason. ``seconds`` is the time waited."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    seconds: float

    def json(self) -> Any:
        """Return the body parsed as JSON. Raises ValueError if it is not JSON."""
        return json.loads(self.body)

    @property
    def is_problem(self) -> bool:
        """Return whether this is a problem document (RFC 9457) with the response's own request id."""
        if not self.headers.get("Content-Type", "").startswith("application/problem+json"):
            return False
        document = self.json()
        return (
            {"type", "title", "status", "detail", "instance", "request_id"} <= document.keys()
            and document["status"] == self.status
            and document["request_id"] == self.headers.get("X-Request-ID")
        )


class Client:
    """Sends requests to one base URL from one source address, so that each experiment has its own rate limits.

    Only Linux answers on all of 127.0.0.0/8; elsewhere the experiments share 127.0.0.1.
    """

    def __init__(self, url: str, *, authority: Path | None = None, address: str = "127.0.0.1") -> None:
        source = (address, 0) if sys.platform == "linux" else None
        options: dict[str, Any] = {"retries": False, "timeout": 40.0, "maxsize": 64, "source_address": source}
        if authority is not None:
            options["ca_certs"] = str(authority)
        self.url = url
        self._pool = urllib3.PoolManager(**options)

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        document: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request. ``path`` may be a full URL; ``document`` is sent as JSON."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if document is not None:
            body = json.dumps(document).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        started = time.monotonic()
        target = path if "://" in path else self.url + path
        try:
            response = self._pool.request(method, target, body=body, headers=sent, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            body = str(error).encode()
            return Answer(status=0, headers={}, body=body, seconds=time.monotonic() - started)
        return Answer(
            status=response.status, headers=response.headers, body=response.data, seconds=time.monotonic() - started
        )

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, document: Any = None, **options: Any) -> Answer:
        return self.request("POST", path, document=document, **options)
