"""Who is calling, by bearer token. Imports no view, so that DRF can load it while it loads its own."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.accounts.models import User
from apps.accounts.selectors.sessions import session_user
from apps.accounts.services.events import Origin
from apps.accounts.services.tokens import AccessToken, TokenRefused
from apps.practices.throttling.address import NOWHERE, client_address

SCHEME = "bearer"


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer …` with an access token whose sign-in stands (RFC 6750, 2.1).

    Sets `request.user` to a User and `request.auth` to the AccessToken. The token says which sign-in it belongs to and
    nothing about rights: those are read from the database, in one query.
    """

    www_authenticate_realm = "api"

    def authenticate(self, request: Request) -> tuple[User, AccessToken] | None:
        scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != SCHEME:
            return None
        token = AccessToken.read(text)
        user = session_user(family_id=token.family_id, now=timezone.now())
        if user is None:
            raise TokenRefused("The sign-in has ended.")
        return user, token

    def authenticate_header(self, request: Request) -> str:
        return f'Bearer realm="{self.www_authenticate_realm}"'


def origin_of(request: HttpRequest) -> Origin:
    """Give where a request comes from: the User-Agent without what PostgreSQL or a terminal could trip over, and the address."""
    device = "".join(char for char in request.META.get("HTTP_USER_AGENT", "") if char.isprintable())
    address = client_address(request)
    return Origin(device=device, address=None if address == NOWHERE else address)
