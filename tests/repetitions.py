"""What a repetition under an Idempotency-Key has to be like, for the tests of everything that takes one."""

from typing import Any

_OF_THE_REQUEST = {"X-Request-ID", "RateLimit", "RateLimit-Policy", "Idempotency-Replayed"}


def _kept(answer: Any) -> dict[str, str]:
    """The headers that a repetition has to bring again."""
    return {name: value for name, value in answer.headers.items() if name not in _OF_THE_REQUEST}


def assert_repeated(first: Any, again: Any) -> None:
    """Assert that the answer is the first one again, but for what belongs to each request, and says so."""
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert _kept(again) == _kept(first)
    assert again["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first
    assert again["X-Request-ID"] != first["X-Request-ID"]
