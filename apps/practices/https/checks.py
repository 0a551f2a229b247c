"""System checks of https."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register


@register(Tags.security, "https")
def check_scheme(**_: Any) -> list[CheckMessage]:
    """Report E001, E002, E008: forwarded values trusted from anyone."""
    return list(_scheme())


def _scheme() -> Iterator[Error]:
    if settings.SECURE_PROXY_SSL_HEADER is not None:
        hint = "Remove it and set TRUSTED_PROXIES. Django trusts this header from any client."
        yield Error("SECURE_PROXY_SSL_HEADER is set.", hint=hint, id="https.E001")
    if settings.USE_X_FORWARDED_HOST or settings.USE_X_FORWARDED_PORT:
        hint = "Switch both off, and configure your proxy to pass on the Host header."
        yield Error("USE_X_FORWARDED_HOST or USE_X_FORWARDED_PORT is on.", hint=hint, id="https.E002")
    if settings.WEB_SERVER == "granian" and not settings.TRUSTED_PROXIES:
        hint = (
            "Put deploy/Caddyfile, or another proxy that drops header names with underscores, in front of it and set "
            "TRUSTED_PROXIES, or use WEB_SERVER=gunicorn. Through granian, X_Forwarded_For replaces X-Forwarded-For."
        )
        yield Error("WEB_SERVER is granian, but TRUSTED_PROXIES is 0.", hint=hint, id="https.E008")


@register(Tags.security, "https", deploy=True)
def check_deployment(**_: Any) -> list[CheckMessage]:
    """Report E007: a cookie that can be set or sent over plain HTTP; W001: no trusted proxy."""
    return [*_deployment(), *_cookies()]


def _deployment() -> Iterator[CheckMessage]:
    if settings.TRUSTED_PROXIES == 0:
        hint = "This is right only if the process itself terminates TLS. Behind a proxy, every request counts as plain HTTP."
        yield Warning("TRUSTED_PROXIES is 0.", hint=hint, id="https.W001")


def _cookies() -> Iterator[Error]:
    for word in ("SESSION", "CSRF"):
        name, secure = getattr(settings, f"{word}_COOKIE_NAME"), getattr(settings, f"{word}_COOKIE_SECURE")
        domain, path = getattr(settings, f"{word}_COOKIE_DOMAIN"), getattr(settings, f"{word}_COOKIE_PATH")
        bound = name.startswith("__Secure-") or (name.startswith("__Host-") and domain is None and path == "/")
        if not (secure and bound):
            hint = f"Set {word}_COOKIE_SECURE, and start the name with __Host- (no domain, path /) or __Secure-."
            yield Error(f"{word}_COOKIE_NAME can be set or sent over plain HTTP.", hint=hint, id="https.E007")
    for word in ("ACCESS", "REFRESH", "BINDING", "DEVICE"):
        prefix = "__Secure-" if word == "REFRESH" else "__Host-"  # it has a path
        if not (settings.TOKENS_COOKIE_SECURE and getattr(settings, f"TOKENS_{word}_COOKIE").startswith(prefix)):
            hint = f"Set TOKENS_COOKIE_SECURE, and start the name with {prefix}."
            yield Error(f"TOKENS_{word}_COOKIE can be set or sent over plain HTTP.", hint=hint, id="https.E007")
