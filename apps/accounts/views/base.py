"""The bases of the views of accounts."""

from __future__ import annotations

from rest_framework.permissions import AllowAny

from apps.accounts.authentication import origin_of
from apps.accounts.services.events import Origin
from apps.practices.mechanisms.requests import django_request
from apps.practices.validation.views import StrictView

# RFC 6749, 5.1: no cache may store a response that holds a token.
NO_STORE = {"Cache-Control": "no-store"}


class AccountView(StrictView):
    @property
    def origin(self) -> Origin:
        """The device and address that the request comes from."""
        return origin_of(django_request(self.request))


class CredentialView(AccountView):
    # What takes a password or a refresh token ignores a stale Authorization header.
    authentication_classes = ()
    permission_classes = (AllowAny,)
    unrepeatable = "Nobody is signed in yet whose key it would be, and a stored answer would keep what it shows."
