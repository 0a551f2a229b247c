"""Requests with an Idempotency-Key, and checks of their repetitions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.test import Client

from tests.apps.accounts.factories import bearer

if TYPE_CHECKING:
    from apps.accounts.models import User

_OF_THE_REQUEST = {"X-Request-ID", "RateLimit", "RateLimit-Policy", "Idempotency-Replayed"}


def send(owner: User, path: str, body: Any = None, *, key: str | None = "k", **options: Any) -> Any:
    """Post as that user under the key, an empty object unless a body is given (text is sent as it stands)."""
    headers = {**bearer(owner), **({} if key is None else {"HTTP_IDEMPOTENCY_KEY": key})}
    content = "{}" if body is None else body if isinstance(body, str) else json.dumps(body)
    return Client().post(
        path, content, content_type=options.pop("content_type", "application/json"), **headers, **options
    )


def _kept(answer: Any) -> dict[str, str]:
    """Return the headers that a repetition has to send again."""
    return {name: value for name, value in answer.headers.items() if name not in _OF_THE_REQUEST}


def assert_repeated(first: Any, again: Any) -> None:
    """Assert that the answer is the first one again, but for what belongs to each request, and says so."""
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert _kept(again) == _kept(first)
    assert again["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first
    assert again["X-Request-ID"] != first["X-Request-ID"]
