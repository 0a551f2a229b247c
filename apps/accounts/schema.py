"""What the OpenAPI document says of accounts that no view can: how a request is authorised, what belongs together."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.utils import OpenApiParameter

from apps.accounts.transports import SAFE

BEARER, COOKIE, LEAVING, CSRF = "bearer", "cookie", "refreshCookie", "csrf"

_CSRF_SCHEME = {
    "type": "apiKey",
    "in": "header",
    "name": "X-CSRFToken",
    "description": "The csrf_token of the same sign-in: besides a cookie, on whatever changes something.",
}
# Of answers that sign in, refresh or sign out in cookie mode.
SET_COOKIE = OpenApiParameter(
    "Set-Cookie",
    str,
    OpenApiParameter.HEADER,
    response=[200, 204],
    description=(
        f"In cookie mode, {settings.TOKENS_ACCESS_COOKIE} and {settings.TOKENS_BINDING_COOKIE} (Path=/) and "
        f"{settings.TOKENS_REFRESH_COOKIE} (Path={settings.TOKENS_REFRESH_PATH}), HttpOnly, SameSite=Lax, over https Secure; "
        "Max-Age=0 takes them back."
    ),
)


class BearerScheme(OpenApiAuthenticationExtension):
    """Registers itself by being imported, as the others do."""

    target_class = "apps.accounts.authentication.BearerAuthentication"
    name = BEARER

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The access token of auth/login or auth/refresh; a JSON Web Token, used as RFC8725 asks.",
        }


class CookieScheme(OpenApiAuthenticationExtension):
    """The access cookie, with the CSRF header where something changes."""

    target_class = "apps.accounts.authentication.CookieAuthentication"
    name = [COOKIE, CSRF]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [_cookie(settings.TOKENS_ACCESS_COOKIE, "The access token of a sign-in in cookie mode."), _CSRF_SCHEME]

    def get_security_requirement(self, auto_schema: Any) -> dict[str, list[Any]]:
        return {COOKIE: []} if auto_schema.method in SAFE else {COOKIE: [], CSRF: []}


class LeavingScheme(OpenApiAuthenticationExtension):
    """Signing out: the access cookie or the refresh cookie. CookieScheme defines the others."""

    target_class = "apps.accounts.authentication.LeavingAuthentication"
    name = LEAVING

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return _cookie(settings.TOKENS_REFRESH_COOKIE, "Its refresh token, which browsers send below auth/ alone.")

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[Any]]]:
        return [{COOKIE: [], CSRF: []}, {LEAVING: [], CSRF: []}]


def _cookie(name: str, description: str) -> dict[str, str]:
    return {"type": "apiKey", "in": "cookie", "name": name, "description": description}


class MeExtension(OpenApiSerializerExtension):
    """What no single field says: another address needs the password."""

    target_class = "apps.accounts.serializers.MeSerializer"

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        schema: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "dependentRequired": {"email": ["current_password"]}}
