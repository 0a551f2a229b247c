"""System checks of headers."""

from typing import Any

from corsheaders.conf import conf as cors
from csp.utils import build_policy
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

HEADERS = "apps.practices.headers.middleware.HeadersMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
POLICY = "apps.practices.headers.middleware.PolicyMiddleware"
CORS = "apps.practices.headers.middleware.OriginMiddleware"
PROBLEMS = "apps.practices.errors.middleware.ProblemMiddleware"


@register(Tags.security, "headers")
def check_cors(**_: Any) -> list[CheckMessage]:
    """Report E001 and E002: CORS credentials for unlisted origins; E003: ``null`` (sandboxed frames, local files) or ``*``."""
    messages: list[CheckMessage] = []
    if cors.CORS_ALLOW_ALL_ORIGINS and cors.CORS_ALLOW_CREDENTIALS:
        hint = "List the origins in CORS_ALLOWED_ORIGINS."
        messages.append(Error("CORS allows credentials from every origin.", hint=hint, id="headers.E001"))
    if cors.CORS_ALLOWED_ORIGIN_REGEXES and cors.CORS_ALLOW_CREDENTIALS:
        hint = "A pattern can match a domain that is not yours. List the origins in CORS_ALLOWED_ORIGINS."
        messages.append(
            Error("CORS allows credentials from origins that match a pattern.", hint=hint, id="headers.E002")
        )
    if "null" in cors.CORS_ALLOWED_ORIGINS or "*" in cors.CORS_ALLOWED_ORIGINS:
        hint = "List each origin, such as https://app.example.com."
        messages.append(Error("CORS_ALLOWED_ORIGINS contains 'null' or '*'.", hint=hint, id="headers.E003"))
    return messages


@register(Tags.security, "headers")
def check_policy(**_: Any) -> list[CheckMessage]:
    """Report E004: a content security policy that allows inline or evaluated code, or framing."""
    messages: list[CheckMessage] = []
    for name, policy in (
        ("CONTENT_SECURITY_POLICY", build_policy()),
        ("HEADERS_DATA_POLICY", settings.HEADERS_DATA_POLICY),
    ):
        if "unsafe-" in policy or "default-src" not in policy or "frame-ancestors" not in policy:
            hint = "Remove the unsafe-* sources and set both directives. For an inline script, use request.csp_nonce."
            messages.append(
                Error(
                    f"{name} allows unsafe-* sources, or lacks default-src or frame-ancestors.",
                    hint=hint,
                    id="headers.E004",
                )
            )
    return messages


@register(Tags.security, "headers")
def check_order(**_: Any) -> list[CheckMessage]:
    """Report E005: header middlewares that errors and cached responses would not pass."""
    wanted = [HEADERS, SECURITY, POLICY, PROBLEMS, CORS]
    if [name for name in settings.MIDDLEWARE if name in wanted] == wanted:
        return []
    hint = "List them in MIDDLEWARE in this order: " + ", ".join(wanted) + "."
    return [Error("The middlewares that set headers are missing or out of order.", hint=hint, id="headers.E005")]
