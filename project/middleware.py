"""Django's middlewares for pages, which API requests skip: the API authenticates with tokens."""

from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.functional import SimpleLazyObject

from apps.accounts.models import User
from apps.accounts.page_sessions import page_user

PAGE_PREFIXES = ("/admin/",)  # with the slash: /administrators is another path


def is_page(request: HttpRequest) -> bool:
    """Return whether the path belongs to the pages that use a session cookie."""
    return request.path_info.startswith(PAGE_PREFIXES)


class PageOnly:
    """Skips a middleware, and those of this kind directly below it, unless the request is for a page."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)  # type: ignore[call-arg]  # the middleware's
        # Django wraps what it puts into a chain, and copies its attributes (functools.wraps).
        self.below_pages = getattr(get_response, "below_pages", get_response)

    def __call__(self, request: HttpRequest) -> Any:
        return super().__call__(request) if is_page(request) else self.below_pages(request)  # type: ignore[misc]


class PageSessionMiddleware(PageOnly, SessionMiddleware):
    pass


class PageCsrfMiddleware(PageOnly, CsrfViewMiddleware):
    def process_view(self, request: HttpRequest, callback: Any, callback_args: Any, callback_kwargs: Any) -> Any:
        if is_page(request):
            return super().process_view(request, callback, callback_args, callback_kwargs)
        return None


class PageAuthenticationMiddleware(PageOnly, AuthenticationMiddleware):
    """Sets the user of the active session, which is loaded on first access."""

    def process_request(self, request: HttpRequest) -> None:
        request.user = SimpleLazyObject(lambda: _user(request))  # type: ignore[assignment]  # behaves like the user


def _user(request: HttpRequest) -> User | AnonymousUser:
    request._cached_user = page_user(request)  # type: ignore[attr-defined]  # Django's name, which the access line reads
    return request._cached_user  # type: ignore[attr-defined]  # set one line above


class PageMessageMiddleware(PageOnly, MessageMiddleware):
    pass
