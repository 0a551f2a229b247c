"""Django's middlewares for pages, which API requests skip: the API authenticates with tokens."""

from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.functional import SimpleLazyObject

from apps.accounts.models import User
from apps.accounts.page_sessions import page_user

PAGE_PREFIXES = ("/admin/",)  # with the slash: /administrators is another path


def is_page(request: HttpRequest) -> bool:
    """Return whether the path belongs to the pages that use a session cookie."""
    return request.path_info.startswith(PAGE_PREFIXES)


class PageSessionMiddleware(SessionMiddleware):
    def process_request(self, request: HttpRequest) -> None:
        if is_page(request):
            super().process_request(request)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> Any:
        return super().process_response(request, response) if hasattr(request, "session") else response


class PageCsrfMiddleware(CsrfViewMiddleware):
    def process_request(self, request: HttpRequest) -> None:
        if is_page(request):
            super().process_request(request)

    def process_view(self, request: HttpRequest, callback: Any, callback_args: Any, callback_kwargs: Any) -> Any:
        if is_page(request):
            return super().process_view(request, callback, callback_args, callback_kwargs)
        return None

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> Any:
        return super().process_response(request, response) if is_page(request) else response


class PageAuthenticationMiddleware(AuthenticationMiddleware):
    """Sets the user of the active session, which is loaded on first access."""

    def process_request(self, request: HttpRequest) -> None:
        if is_page(request):
            request.user = SimpleLazyObject(lambda: _user(request))  # type: ignore[assignment]  # behaves like the user


def _user(request: HttpRequest) -> User | AnonymousUser:
    request._cached_user = page_user(request)  # type: ignore[attr-defined]  # Django's name, which the access line reads
    return request._cached_user  # type: ignore[attr-defined]  # set one line above


class PageMessageMiddleware(MessageMiddleware):
    def process_request(self, request: HttpRequest) -> None:
        if is_page(request):
            super().process_request(request)
