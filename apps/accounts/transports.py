"""How the tokens of a session travel: in the Authorization header and bodies, or in cookies that scripts cannot read.

A browser sends cookies whichever site made the request, so in cookie mode a request must also prove that one of our pages sent
it: by a header with an HMAC of the session's id, or, where there is no session yet, by its Origin (OWASP Cross-Site Request
Forgery Prevention; RFC 6265bis, 8.8: SameSite alone is not enough). A request uses only one of the two transports.

Another host of the domain can set a cookie with the refresh token's name and a token of its own session. So a refresh also needs
the binding cookie, an HMAC of the session's id, whose name (``__Host-``) no other host can set. A cookie with one of these names
that holds no token of this service belongs to another application and is ignored.
"""

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


class TwoTransports(Problem, status=400, type="two-transports", title="Two transports"):
    explanation = (
        "The request has tokens in cookies, and another in its Authorization header or body. Use one of them: send bearer "
        "tokens without cookies (in fetch, credentials: 'omit'), or send cookies alone."
    )


class CookieRepeated(Problem, status=400, type="cookie-repeated", title="Cookie sent twice"):
    """400: one of our cookies came twice, so another host of the domain has set one of the two."""

    explanation = (
        "The request has two cookies with the same name that hold tokens of this service, so another host of the same domain "
        "has set one of them. This host's cookies have been deleted. Sign in again. If the error returns, delete all cookies "
        "of the site."
    )


class CsrfTokenRefused(Problem, status=403, type="csrf-token", title="CSRF token missing or wrong"):
    explanation = (
        "A request that is authorised by a cookie and changes something needs the X-CSRFToken header. Send the csrf_token from "
        "auth/login, auth/refresh or auth/csrf, of the same session."
    )


class CsrfOriginRefused(Problem, status=403, type="csrf-origin", title="Origin not listed"):
    explanation = (
        "Only pages of a listed origin can sign in and refresh in cookie mode: the service's own, and those in "
        "CORS_ALLOWED_ORIGINS. Programs that are not browsers use bearer tokens."
    )


def bearer_text(request: HttpRequest) -> str | None:
    """Return what follows `Bearer` in the Authorization header (RFC 6750, 2.1), or None."""
    scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return text.lstrip(" ") if scheme.lower() == SCHEME else None  # 1*SP: RFC 6750, 2.1, and RFC 9110, 11.4


def cookie_text(request: HttpRequest, name: str) -> str | None:
    """Return the token in one of our cookies, or None if the cookie is absent or holds no token of this service.

    An expired or forged token of this service is returned, so that it is refused. Raise CookieRepeated for two tokens.
    """
    header = request.META.get("HTTP_COOKIE", "")
    if name not in header:
        return None
    pairs = (pair.partition("=") for pair in header.split(";"))
    found = [value.strip() for own, _, value in pairs if own.strip() == name and token_is_ours(value.strip())]
    if len(found) > 1:
        raise deleting_cookies(CookieRepeated())
    return found[0] if found else None


def has_cookies(request: HttpRequest) -> bool:
    if "HTTP_COOKIE" not in request.META:
        return False
    names = (settings.TOKENS_ACCESS_COOKIE, settings.TOKENS_REFRESH_COOKIE)
    return any(cookie_text(request, name) is not None for name in names)


def refresh_presented(request: HttpRequest, *, body: str | None) -> tuple[str, Transport]:
    """Return the refresh token of a request and its transport: from its `body`, or from the cookie.

    Raise TwoTransports, or NotAuthenticated if there is neither. For a cookie, also raise CookieRepeated, CsrfOriginRefused,
    and TokenRefused if another host has set it.
    """
    if has_cookies(request) and (body is not None or bearer_text(request) is not None):
        raise TwoTransports()
    if body is not None:
        return body, Transport.BEARER
    text = cookie_text(request, settings.TOKENS_REFRESH_COOKIE)
    if text is None:
        raise NotAuthenticated("Send the refresh token as `refresh` in the body, or as a cookie.")
    origin_require(request)
    try:
        _binding_require(request, session_id=RefreshToken.read(text).session_id)
    except TokenRefused as refused:
        deleting_cookies(refused)
        raise
    return text, Transport.COOKIE


def _binding_require(request: HttpRequest, *, session_id: UUID) -> None:
    """Raise TokenRefused unless the binding cookie is that of this session."""
    given = request.COOKIES.get(settings.TOKENS_BINDING_COOKIE, "")
    if not _is_signed(given, salt=_BINDING_SALT, session_id=session_id):
        raise TokenRefused("The refresh cookie does not belong to this browser's session. Sign in again.")


def origin_require(request: HttpRequest) -> None:
    """Raise CsrfOriginRefused unless the Origin header is a listed origin, as browsers write it (RFC 6454, 6.1)."""
    origin = request.META.get("HTTP_ORIGIN")
    if origin != origin_of_url(settings.PUBLIC_URL) and origin not in settings.CORS_ALLOWED_ORIGINS:
        raise CsrfOriginRefused()


@lru_cache(maxsize=8)
def origin_of_url(url: str) -> str:
    """Return a URL's origin as browsers write it: in lower case, without the scheme's default port."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    is_default = parts.port in (None, _DEFAULT_PORTS.get(parts.scheme))
    return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{parts.port}"


def csrf_token(session_id: UUID, *, secret: str | None = None) -> str:
    """Return the CSRF token of a session, the same as long as SECRET_KEY does not change."""
    return _signed(_CSRF_SALT, session_id, secret=secret)


def csrf_require(request: HttpRequest, *, session_id: UUID) -> None:
    """Raise CsrfTokenRefused unless the method is safe or the header holds the session's token, by any current key."""
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
    """Set the cookies of a session's tokens, each for as long as its token is valid."""
    refresh_seconds = int((pair.refresh_until - now).total_seconds())
    for name, value, seconds in (
        (settings.TOKENS_ACCESS_COOKIE, pair.access, pair.expires_in),
        (settings.TOKENS_REFRESH_COOKIE, pair.refresh, refresh_seconds),
        (settings.TOKENS_BINDING_COOKIE, _signed(_BINDING_SALT, pair.session_id), refresh_seconds),
    ):
        _cookie_set(response, name, value, seconds=seconds)


def device_set(response: HttpResponseBase, *, email: str, now: datetime) -> None:
    """Set the device cookie, which shows at the next sign-in that this browser has signed in to the account before."""
    proof = device_proof(email=email, now=now)
    _cookie_set(response, settings.TOKENS_DEVICE_COOKIE, proof, seconds=settings.TOKENS_DEVICE_SECONDS)


def _cookie_set(response: HttpResponseBase, name: str, value: str, *, seconds: int) -> None:
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path=_path(name),
        secure=settings.TOKENS_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def device_cookie(request: HttpRequest) -> str | None:
    """Return the value of the device cookie (`device_set`), if the request has one."""
    return request.COOKIES.get(settings.TOKENS_DEVICE_COOKIE)


def cookies_delete(response: HttpResponseBase) -> None:
    for name in _names():
        response.delete_cookie(name, path=_path(name), samesite="Lax")


def deleting_cookies(problem: Refusal, *, access_only: bool = False) -> Refusal:
    """Make the response to a problem delete the cookies of the tokens, or only the access token's; return the problem."""
    problem.cookies_forgotten = {name: _path(name) for name in (_names()[:1] if access_only else _names())}
    return problem


def replaced_session_id(request: HttpRequest) -> UUID | None:
    """Return the session whose cookies a new session is about to replace in this browser, if there is one."""
    for kind, name in ((RefreshToken, settings.TOKENS_REFRESH_COOKIE), (AccessToken, settings.TOKENS_ACCESS_COOKIE)):
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
