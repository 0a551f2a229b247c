"""The base classes of the views of accounts, and the response that carries tokens."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from apps.accounts.authentication import origin_of
from apps.accounts.models import Transport, User
from apps.accounts.serializers import CookiePairSerializer, TokenPairSerializer
from apps.accounts.services.events import Origin
from apps.accounts.services.sessions import TokenPair
from apps.accounts.services.tokens import SessionToken
from apps.accounts.transports import cookies_set, csrf_token
from apps.practices.mechanisms.requests import django_request
from apps.practices.throttling.throttles import LoginThrottle
from apps.practices.validation.views import StrictView

# RFC 6749, 5.1: no cache may store a response that holds a token.
NO_STORE = {"Cache-Control": "no-store"}
SIGNED_IN = PolymorphicProxySerializer(
    component_name="SignedIn", serializers=[TokenPairSerializer, CookiePairSerializer], resource_type_field_name=None
)


class AccountView(StrictView):
    @property
    def origin(self) -> Origin:
        """The device and address that the request comes from."""
        return origin_of(django_request(self.request))

    @property
    def user(self) -> User:
        return cast("User", self.request.user)

    @property
    def session_id(self) -> UUID:
        return cast("SessionToken", self.request.auth).session_id


class CredentialView(AccountView):
    # What takes a password or a refresh token ignores a stale Authorization header.
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes: Sequence[type[BaseThrottle]] = (LoginThrottle,)
    unrepeatable = "Nobody is signed in yet who could own the key, and the stored response would contain secrets."


def token_response(pair: TokenPair, *, now: datetime) -> Response:
    """Return the tokens of a session in the body, or in cookies with their CSRF token in the body."""
    rest = {"token_type": "Bearer", "expires_in": pair.expires_in, "session": pair.session_id}
    if pair.transport == Transport.BEARER:
        return Response({"access": pair.access, "refresh": pair.refresh, **rest}, headers=NO_STORE)
    response = Response({"csrf_token": csrf_token(pair.session_id), **rest}, headers=NO_STORE)
    cookies_set(response, pair, now=now)
    return response
