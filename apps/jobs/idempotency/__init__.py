"""Idempotency-Key: a POST that creates something may be repeated without creating it twice.

Below ``@extend_schema``, on the ``post`` of a view that asks for a sign-in::

    @idempotent()
    def post(self, request: Request) -> Response: ...
"""

from apps.jobs.idempotency.decorator import idempotent

__all__ = ["idempotent"]
