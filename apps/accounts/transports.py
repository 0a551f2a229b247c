"""How the tokens of a sign-in travel: in the Authorization header and bodies, or in cookies that no script can read.

A browser sends cookies whoever made it ask, so in cookie mode a request proves besides that a page of ours asked: by a
header that holds an HMAC of the sign-in's id, and where no sign-in is known yet by its Origin (OWASP Cross-Site Request
Forgery Prevention; RFC 6265bis, 8.8: SameSite alone does not do). One request uses one of the two ways.

Another host of the domain can set a cookie of the refresh token's name, with a token of a sign-in of its own. So a refresh also
needs the binding cookie, an HMAC of the sign-in's id whose name (``__Host-``) no other host can set. A cookie of one of these
names that holds no token of this service is somebody else's and is left alone.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import constant_time_compare, salted_hmac

from apps.accounts.models import Transport
from apps.accounts.services.devices import device_proof
from apps.accounts.services.sessions import TokenPair
from apps.accounts.services.tokens import AccessToken, RefreshToken, TokenRefused, token_is_ours
from apps.practices.errors import NotAuthenticated, Problem

SCHEME = "bearer"
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, 9.2.1
CSRF_HEADER = "HTTP_X_CSRFTOKEN"
_CSRF_SALT = "apps.accounts.transports.csrf"
_BINDING_SALT = "apps.accounts.transports.binding"
Refusal = TypeVar("Refusal", bound=Problem)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class TwoTransports(Problem):
    """400: tokens in cookies and elsewhere at once, so two sign-ins could be meant."""

    status = 400
    type = "two-transports"
    title = "Two transports at once"
    explanation = (
        "The request carries tokens in cookies and another in its Authorization header or body. A sign-in uses one way: "
        "send bearer tokens without cookies (fetch with credentials: omit), or cookies alone."
    )


class CookieRepeated(Problem):
    """400: one of our cookies came twice, and one of the two was planted from a neighbouring host."""

    status = 400
    type = "cookie-repeated"
    title = "Cookie sent twice"
    explanation = (
        "Two cookies of one name hold tokens of this service: another host of the same domain has set one of them. This "
        "host's own have been deleted. Sign in again; if it comes back, delete the whole site's cookies."
    )


class CsrfTokenRefused(Problem):
    """403: a write in cookie mode without the token that pages of ours can read."""

    status = 403
    type = "csrf-token"
    title = "CSRF token missing or wrong"
    explanation = (
        "Requests that change something and are authorised by a cookie carry the header X-CSRFToken, with the csrf_token "
        "of auth/login, auth/refresh or auth/csrf of the same sign-in."
    )


class CsrfOriginRefused(Problem):
    """403: a sign-in or refresh in cookie mode that no page of a listed origin asked for."""

    status = 403
    type = "csrf-origin"
    title = "Origin not listed"
    explanation = (
        "Signing in and refreshing in cookie mode is for pages whose origin is listed: the service's own, and those in "
        "CORS_ALLOWED_ORIGINS. Programs without a browser use bearer tokens."
    )


def bearer_text(request: HttpRequest) -> str | None:
    """Give what stands behind `Bearer` in the Authorization header (RFC 6750, 2.1); None without it."""
    scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return text.lstrip(" ") if scheme.lower() == SCHEME else None  # 1*SP: RFC 6750, 2.1, and RFC 9110, 11.4


def cookie_text(request: HttpRequest, name: str) -> str | None:
    """Return the token in one of our cookies; None without it, and for a cookie that holds none of this service.

    A token of this service that has expired or was forged is returned, to be refused. Raise CookieRepeated for two tokens.
    """
    header = request.META.get("HTTP_COOKIE", "")
    if name not in header:
        return None
    pairs = (pair.partition("=") for pair in header.split(";"))
    found = [value.strip() for own, _, value in pairs if own.strip() == name and token_is_ours(value.strip())]
    if len(found) > 1:
        raise forgetting(CookieRepeated())
    return found[0] if found else None


def has_cookies(request: HttpRequest) -> bool:
    """Whether a token came in a cookie."""
    names = (settings.TOKENS_ACCESS_COOKIE, settings.TOKENS_REFRESH_COOKIE)
    return any(cookie_text(request, name) is not None for name in names)


def refresh_presented(request: HttpRequest, *, body: str | None) -> tuple[str, Transport]:
    """Give the refresh token that a request brings, and how: in its `body`, or as the cookie.

    Raises TwoTransports, NotAuthenticated when there is neither, and for a cookie CookieRepeated, CsrfOriginRefused, and
    TokenRefused for one that another host has set.
    """
    if has_cookies(request) and (body is not None or bearer_text(request) is not None):
        raise TwoTransports()
    if body is not None:
        return body, Transport.BEARER
    text = cookie_text(request, settings.TOKENS_REFRESH_COOKIE)
    if text is None:
        raise NotAuthenticated("There is no refresh token, neither as `refresh` in the body nor as a cookie.")
    origin_require(request)
    try:
        _binding_require(request, session_id=RefreshToken.read(text).session_id)
    except TokenRefused as refused:
        forgetting(refused)
        raise
    return text, Transport.COOKIE


def _binding_require(request: HttpRequest, *, session_id: UUID) -> None:
    """Raise TokenRefused unless the sign-in is the one that this browser was given."""
    given = request.COOKIES.get(settings.TOKENS_BINDING_COOKIE, "")
    if not _is_signed(given, salt=_BINDING_SALT, session_id=session_id):
        raise TokenRefused("The refresh cookie belongs to another sign-in than this browser's. Sign in again.")


def origin_require(request: HttpRequest) -> None:
    """Raise CsrfOriginRefused unless the Origin header names one that is listed, as browsers write it (RFC 6454, 6.1)."""
    origin = request.META.get("HTTP_ORIGIN")
    if origin != origin_of_url(settings.PUBLIC_URL) and origin not in settings.CORS_ALLOWED_ORIGINS:
        raise CsrfOriginRefused()


@lru_cache(maxsize=8)
def origin_of_url(url: str) -> str:
    """Write a URL's origin as browsers do: lower case, without a port that is the scheme's own."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    is_default = parts.port in (None, _DEFAULT_PORTS.get(parts.scheme))
    return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{parts.port}"


def csrf_token(session_id: UUID, *, secret: str | None = None) -> str:
    """Make the CSRF token of a sign-in: the same as long as it lives and SECRET_KEY stays."""
    return _signed(_CSRF_SALT, session_id, secret=secret)


def csrf_require(request: HttpRequest, *, session_id: UUID) -> None:
    """Raise CsrfTokenRefused unless the request may do no harm or carries its sign-in's token, by any key in force."""
    if request.method in SAFE:
        return
    if not _is_signed(request.META.get(CSRF_HEADER, ""), salt=_CSRF_SALT, session_id=session_id):
        raise CsrfTokenRefused()


def _signed(salt: str, session_id: UUID, *, secret: str | None = None) -> str:
    return salted_hmac(salt, session_id.bytes, secret=secret, algorithm="sha256").hexdigest()


def _is_signed(given: str, *, salt: str, session_id: UUID) -> bool:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(constant_time_compare(given, _signed(salt, session_id, secret=key)) for key in keys)


def cookies_set(response: HttpResponseBase, pair: TokenPair, *, now: datetime) -> None:
    """Give the browser the tokens of a sign-in, each until it ends."""
    refresh_seconds = int((pair.refresh_until - now).total_seconds())
    for name, value, seconds in (
        (settings.TOKENS_ACCESS_COOKIE, pair.access, pair.expires_in),
        (settings.TOKENS_REFRESH_COOKIE, pair.refresh, refresh_seconds),
        (settings.TOKENS_BINDING_COOKIE, _signed(_BINDING_SALT, pair.session_id), refresh_seconds),
    ):
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path=_path(name),
            secure=settings.TOKENS_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )


def device_set(response: HttpResponseBase, *, email: str, now: datetime) -> None:
    """Let the browser prove, at its next sign-in, that it has signed in to the account of this address before."""
    response.set_cookie(
        settings.TOKENS_DEVICE_COOKIE,
        device_proof(email=email, now=now),
        max_age=settings.TOKENS_DEVICE_SECONDS,
        secure=settings.TOKENS_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def device_presented(request: HttpRequest) -> str | None:
    """Return what a request brings of `device_set`."""
    return request.COOKIES.get(settings.TOKENS_DEVICE_COOKIE)


def cookies_forget(response: HttpResponseBase) -> None:
    """Take the tokens of a sign-in back from the browser."""
    for name in _names():
        response.delete_cookie(name, path=_path(name), samesite="Lax")


def forgetting(problem: Refusal, *, sign_in: bool = True) -> Refusal:
    """Let a refusal take the cookies along: all when the `sign_in` is over, else the access token's alone."""
    problem.cookies_forgotten = {name: _path(name) for name in (_names() if sign_in else _names()[:1])}
    return problem


def replaced_session_id(request: HttpRequest) -> UUID | None:
    """Give the sign-in whose cookies a new one is about to replace in this browser; None when they hold none of ours."""
    for kind, name in (
        (RefreshToken, settings.TOKENS_REFRESH_COOKIE),
        (AccessToken, settings.TOKENS_ACCESS_COOKIE),
    ):
        try:
            text = cookie_text(request, name)
            if text is not None:
                return kind.read(text).session_id
        except (CookieRepeated, TokenRefused):
            continue
    return None


def _names() -> tuple[str, ...]:
    return (settings.TOKENS_ACCESS_COOKIE, settings.TOKENS_REFRESH_COOKIE, settings.TOKENS_BINDING_COOKIE)


def _path(name: str) -> str:
    path: str = settings.TOKENS_REFRESH_PATH if name == settings.TOKENS_REFRESH_COOKIE else "/"
    return path
