"""Authenticate requests, by bearer token or by cookie. Imports no views, because DRF loads it before its own."""

from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.accounts.models import Transport, User
from apps.accounts.selectors.sessions import session_user, session_user_known
from apps.accounts.services.events import Origin
from apps.accounts.services.tokens import AccessToken, RefreshToken, SessionToken, TokenRefused
from apps.accounts.transports import (
    SAFE,
    CookieRepeated,
    TwoTransports,
    bearer_text,
    cookie_text,
    csrf_require,
    deleting_cookies,
    has_cookies,
)
from apps.practices.mechanisms.facts import facts_of
from apps.practices.mechanisms.proxies import NOWHERE
from apps.practices.mechanisms.requests import django_request

REALM = 'Bearer realm="api"'


class BearerAuthentication(BaseAuthentication):
    """Accepts `Authorization: Bearer …` with an access token whose session is active (RFC 6750, 2.1).

    Sets `request.user` to a User and `request.auth` to the AccessToken. The token only identifies the session: rights are read
    from the database, in the same query. Raises TokenRefused, or TwoTransports if a token came in a cookie as well.
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
            raise TokenRefused("The session has ended.")
        return user, token

    def authenticate_header(self, request: Request) -> str:
        return REALM


class CookieAuthentication(BaseAuthentication):
    """Accepts the access cookie of an active session in cookie mode; unsafe methods also need the CSRF header.

    Sets what BearerAuthentication sets. Raises TokenRefused, which deletes cookies that no longer work, CsrfTokenRefused,
    TwoTransports and CookieRepeated.
    """

    def authenticate(self, request: Request) -> tuple[User, SessionToken] | None:
        text = cookie_text(django_request(request), settings.TOKENS_ACCESS_COOKIE)
        return None if text is None else self.verified(django_request(request), text, kind=AccessToken)

    def verified(self, request: HttpRequest, text: str, *, kind: type[SessionToken]) -> tuple[User, SessionToken]:
        """Return the user and the token of a cookie."""
        if bearer_text(request) is not None:
            raise TwoTransports()
        try:
            token = kind.read(text)
        except TokenRefused as refused:
            # Without a valid access token the refresh token may still get a new one.
            deleting_cookies(refused, access_only=kind is AccessToken)
            raise
        user = session_user(session_id=token.session_id, transport=Transport.COOKIE, now=timezone.now())
        if user is None:
            raise deleting_cookies(TokenRefused("The session has ended."))
        csrf_require(request, session_id=token.session_id)
        return user, token

    def authenticate_header(self, request: Request) -> str:
        return REALM  # a 401 must name a scheme (RFC 9110, 11.6.1), and cookies have none


class LogoutAuthentication(CookieAuthentication):
    """Also accepts the refresh cookie, because the access cookie may have expired by the time the user signs out."""

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


def user_known(request: HttpRequest) -> UUID | None:
    """Return the user of a valid access token whose session this process has seen active (THROTTLING_USER_KNOWN).

    Whether the session still is active, authentication decides. An unsafe request by cookie has no known user, since another
    site may have made the browser send it, which must not use up the user's limit.
    """
    text, transport = bearer_text(request), Transport.BEARER
    try:
        if text is None and request.method in SAFE:
            text, transport = cookie_text(request, settings.TOKENS_ACCESS_COOKIE), Transport.COOKIE
        if text is None:
            return None
        token = AccessToken.read(text)
    except (CookieRepeated, TokenRefused):
        return None
    return session_user_known(session_id=token.session_id, transport=transport)


def origin_of(request: HttpRequest) -> Origin:
    """Return where a request comes from: the User-Agent, without unprintable characters, and the client's address."""
    device = "".join(char for char in request.META.get("HTTP_USER_AGENT", "") if char.isprintable())
    address = facts_of(request).address
    return Origin(device=device, address=None if address == NOWHERE else address)
