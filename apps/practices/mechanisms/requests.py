"""The Django request within a request of Django REST framework."""

from django.http import HttpRequest
from rest_framework.request import Request


def django_request(request: Request) -> HttpRequest:
    """Return the Django request that ``request`` wraps. REST framework has no public name for it (docs/private-api.md)."""
    return request._request
