"""What no view can add to the OpenAPI document: how requests are authorised, and which fields belong together."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.utils import OpenApiParameter

from apps.accounts.transports import SAFE

BEARER, COOKIE, REFRESH_COOKIE, CSRF = "bearer", "cookie", "refreshCookie", "csrf"

_CSRF_SCHEME = {
    "type": "apiKey",
    "in": "header",
    "name": "X-CSRFToken",
    "description": "The csrf_token of the same session. Required with a cookie for every method that changes something.",
}
# In the responses of sign-in, refresh and sign-out in cookie mode.
SET_COOKIE = OpenApiParameter(
    "Set-Cookie",
    str,
    OpenApiParameter.HEADER,
    response=[200, 204],
    description=(
        f"In cookie mode, {settings.TOKENS_ACCESS_COOKIE} and {settings.TOKENS_BINDING_COOKIE} (Path=/) and "
        f"{settings.TOKENS_REFRESH_COOKIE} (Path={settings.TOKENS_REFRESH_PATH}), HttpOnly, SameSite=Lax, and Secure over "
        "https. Max-Age=0 deletes them."
    ),
)


class BearerScheme(OpenApiAuthenticationExtension):
    """The Authorization header. Importing these classes registers them."""

    target_class = "apps.accounts.authentication.BearerAuthentication"
    name = BEARER

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The access token from auth/login or auth/refresh: a JSON Web Token, used as RFC8725 recommends.",
        }


class CookieScheme(OpenApiAuthenticationExtension):
    """The access cookie, with the CSRF header for unsafe methods."""

    target_class = "apps.accounts.authentication.CookieAuthentication"
    name = [COOKIE, CSRF]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [_cookie(settings.TOKENS_ACCESS_COOKIE, "The access token of a session in cookie mode."), _CSRF_SCHEME]

    def get_security_requirement(self, auto_schema: Any) -> dict[str, list[Any]]:
        return {COOKIE: []} if auto_schema.method in SAFE else {COOKIE: [], CSRF: []}


class LogoutScheme(OpenApiAuthenticationExtension):
    """Signing out, with the access cookie or the refresh cookie. CookieScheme defines the other schemes."""

    target_class = "apps.accounts.authentication.LogoutAuthentication"
    name = REFRESH_COOKIE

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return _cookie(settings.TOKENS_REFRESH_COOKIE, "The refresh token, which browsers only send below auth/.")

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[Any]]]:
        return [{COOKIE: [], CSRF: []}, {REFRESH_COOKIE: [], CSRF: []}]


def _cookie(name: str, description: str) -> dict[str, str]:
    return {"type": "apiKey", "in": "cookie", "name": name, "description": description}


class MeExtension(OpenApiSerializerExtension):
    """A new address requires the current password."""

    target_class = "apps.accounts.serializers.MeSerializer"

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        schema: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "dependentRequired": {"email": ["current_password"]}}
