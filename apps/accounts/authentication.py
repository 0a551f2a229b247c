"""Who is calling, by bearer token or by cookie. Imports no view, so that DRF can load it while it loads its own."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.accounts.models import Transport, User
from apps.accounts.selectors.sessions import session_user
from apps.accounts.services.events import Origin
from apps.accounts.services.tokens import AccessToken, RefreshToken, SessionToken, TokenRefused
from apps.accounts.transports import (
    TwoTransports,
    bearer_text,
    cookie_text,
    csrf_require,
    forgetting,
    has_cookies,
)
from apps.practices.mechanisms.proxies import NOWHERE, client_address
from apps.practices.mechanisms.requests import django_request

REALM = 'Bearer realm="api"'


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer …` with an access token whose sign-in stands (RFC 6750, 2.1).

    Sets `request.user` to a User and `request.auth` to the AccessToken. The token says which sign-in it belongs to and
    nothing about rights: those are read from the database, in one query. Raises TokenRefused, and TwoTransports when a
    cookie of ours is there as well.
    """

    def authenticate(self, request: Request) -> tuple[User, SessionToken] | None:
        text = bearer_text(django_request(request))
        if text is None:
            return None
        if has_cookies(django_request(request)):
            raise TwoTransports()
        token = AccessToken.read(text)
        user = session_user(session_id=token.session_id, transport=Transport.BEARER, now=timezone.now())
        if user is None:
            raise TokenRefused("The sign-in has ended.")
        return user, token

    def authenticate_header(self, request: Request) -> str:
        return REALM


class CookieAuthentication(BaseAuthentication):
    """The access cookie of a sign-in in cookie mode that stands; what changes something proves that a page of ours asks.

    Sets what BearerAuthentication sets. Raises TokenRefused, which takes the cookies along that are of no more use,
    CsrfTokenRefused, TwoTransports and CookieRepeated.
    """

    def authenticate(self, request: Request) -> tuple[User, SessionToken] | None:
        text = cookie_text(django_request(request), settings.TOKENS_ACCESS_COOKIE)
        return None if text is None else self.verified(django_request(request), text, kind=AccessToken)

    def verified(self, request: HttpRequest, text: str, *, kind: type[SessionToken]) -> tuple[User, SessionToken]:
        """Give the user and the token that a cookie holds."""
        if bearer_text(request) is not None:
            raise TwoTransports()
        try:
            token = kind.read(text)
        except TokenRefused as refused:
            # Its refresh token may be good for a new one.
            forgetting(refused, sign_in=kind is RefreshToken)
            raise
        user = session_user(session_id=token.session_id, transport=Transport.COOKIE, now=timezone.now())
        if user is None:
            raise forgetting(TokenRefused("The sign-in has ended."))
        csrf_require(request, session_id=token.session_id)
        return user, token

    def authenticate_header(self, request: Request) -> str:
        return REALM  # there is no scheme for cookies, and a 401 names one (RFC 9110, 11.6.1)


class LeavingAuthentication(CookieAuthentication):
    """For signing out: also by the refresh cookie, since the access cookie is gone after a quarter of an hour."""

    def authenticate(self, request: Request) -> tuple[User, SessionToken] | None:
        refresh = cookie_text(django_request(request), settings.TOKENS_REFRESH_COOKIE)
        try:
            found = super().authenticate(request)
        except TokenRefused:
            if refresh is None:
                raise
            found = None
        if found is None and refresh is not None:
            found = self.verified(django_request(request), refresh, kind=RefreshToken)
        return found


def origin_of(request: HttpRequest) -> Origin:
    """Give where a request comes from: the User-Agent without what PostgreSQL or a terminal could trip over, and the address."""
    device = "".join(char for char in request.META.get("HTTP_USER_AGENT", "") if char.isprintable())
    address = client_address(request)
    return Origin(device=device, address=None if address == NOWHERE else address)
