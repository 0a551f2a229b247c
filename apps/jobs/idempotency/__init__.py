"""Idempotency-Key: a POST that creates something can be sent again without creating it twice.

Put the decorator below ``@extend_schema``, on the ``post`` of a view that requires a signed-in user::

    @idempotent()
    def post(self, request: Request) -> Response: ...
"""

from apps.jobs.idempotency.decorator import idempotent

__all__ = ["idempotent"]
