"""The exception handler of Django REST framework (setting ``EXCEPTION_HANDLER``)."""

from typing import Any

from django.http import HttpResponse
from rest_framework.views import set_rollback

from apps.practices.errors.answers import answer
from apps.practices.mechanisms.requests import django_request


def handle(exception: Exception, context: dict[str, Any]) -> HttpResponse:
    """Return the problem response to any exception of an API view.

    A 401 names the authentication scheme (RFC 9110, section 11.6.1), also where DRF would turn it into a 403.
    """
    request, view = context["request"], context["view"]
    set_rollback()
    response = answer(django_request(request), exception)
    if response.status_code == 401:
        response.headers.setdefault("WWW-Authenticate", view.get_authenticate_header(request) or "Bearer")
    return response
