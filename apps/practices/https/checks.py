"""System checks of the https practice."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

MIDDLEWARE = "apps.practices.https.middleware.HttpsMiddleware"
HOST = "apps.practices.https.middleware.HostMiddleware"


@register(Tags.security, "https")
def check_scheme(**_: Any) -> list[CheckMessage]:
    """Nothing but ``TRUSTED_PROXIES`` decides which forwarded values count, and the middleware that asks is in place."""
    messages: list[CheckMessage] = []
    if settings.SECURE_PROXY_SSL_HEADER is not None:
        hint = "Remove it and set TRUSTED_PROXIES: Django would believe the header from anybody."
        messages.append(Error("SECURE_PROXY_SSL_HEADER is set.", hint=hint, id="https.E001"))
    if settings.USE_X_FORWARDED_HOST or settings.USE_X_FORWARDED_PORT:
        hint = "Let the edge pass the Host header on."
        messages.append(Error("USE_X_FORWARDED_HOST or USE_X_FORWARDED_PORT is on.", hint=hint, id="https.E002"))
    order = [name for name in settings.MIDDLEWARE if name in (HOST, MIDDLEWARE)]
    if order != [HOST, MIDDLEWARE]:
        hint = f"List {HOST}, then {MIDDLEWARE}."
        messages.append(
            Error("HostMiddleware or HttpsMiddleware is missing or out of order.", hint=hint, id="https.E003")
        )
    return messages


@register(Tags.security, "https", deploy=True)
def check_deployment(**_: Any) -> list[CheckMessage]:
    """What a deployed service must not be without."""
    messages: list[CheckMessage] = []
    if not settings.PUBLIC_URL.startswith("https://"):
        messages.append(Error("PUBLIC_URL is not an https address.", id="https.E004"))
    if not settings.SECURE_SSL_REDIRECT:
        messages.append(Error("SECURE_SSL_REDIRECT is off: plain HTTP would be served.", id="https.E005"))
    if settings.SECURE_HSTS_SECONDS < 1:
        messages.append(Error("SECURE_HSTS_SECONDS is 0: browsers would try plain HTTP first.", id="https.E006"))
    messages += _check_cookies()
    if settings.TRUSTED_PROXIES == 0:
        hint = "Right only when the process itself ends TLS: else every request counts as plain HTTP."
        messages.append(Warning("TRUSTED_PROXIES is 0.", hint=hint, id="https.W001"))
    return messages


def _check_cookies() -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for word in ("SESSION", "CSRF"):
        name, secure = getattr(settings, f"{word}_COOKIE_NAME"), getattr(settings, f"{word}_COOKIE_SECURE")
        domain, path = getattr(settings, f"{word}_COOKIE_DOMAIN"), getattr(settings, f"{word}_COOKIE_PATH")
        bound = name.startswith("__Secure-") or (name.startswith("__Host-") and domain is None and path == "/")
        if not (secure and bound):
            hint = f"{word}_COOKIE_SECURE, and a name with __Host- (no domain, path /) or __Secure-."
            messages.append(Error(f"{word}_COOKIE_NAME is not bound to https.", hint=hint, id="https.E007"))
    for word, prefix in (
        ("ACCESS", "__Host-"),
        ("REFRESH", "__Secure-"),
        ("BINDING", "__Host-"),
        ("DEVICE", "__Host-"),
    ):
        if not (settings.TOKENS_COOKIE_SECURE and getattr(settings, f"TOKENS_{word}_COOKIE").startswith(prefix)):
            hint = f"TOKENS_COOKIE_SECURE, and a name with {prefix}."
            messages.append(Error(f"TOKENS_{word}_COOKIE is not bound to https.", hint=hint, id="https.E007"))
    return messages
