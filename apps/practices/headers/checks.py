"""System checks of the headers practice."""

from typing import Any

from corsheaders.conf import conf as cors
from csp.utils import build_policy
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

HEADERS = "apps.practices.headers.middleware.HeadersMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
POLICY = "apps.practices.headers.middleware.PolicyMiddleware"
CORS = "corsheaders.middleware.CorsMiddleware"
PROBLEMS = "apps.practices.errors.middleware.ProblemMiddleware"


@register(Tags.security, "headers")
def check_cors(**_: Any) -> list[CheckMessage]:
    """Credentials are for origins that are listed one by one; ``null`` is anybody's (sandboxed frames, local files)."""
    messages: list[CheckMessage] = []
    if cors.CORS_ALLOW_ALL_ORIGINS and cors.CORS_ALLOW_CREDENTIALS:
        hint = "List the origins in CORS_ALLOWED_ORIGINS."
        messages.append(Error("CORS allows credentials from every origin.", hint=hint, id="headers.E001"))
    if cors.CORS_ALLOWED_ORIGIN_REGEXES and cors.CORS_ALLOW_CREDENTIALS:
        hint = "A pattern that is a little too wide admits a stranger's domain: list the origins."
        messages.append(Error("CORS allows credentials by a pattern.", hint=hint, id="headers.E002"))
    if "null" in cors.CORS_ALLOWED_ORIGINS or "*" in cors.CORS_ALLOWED_ORIGINS:
        messages.append(Error("CORS_ALLOWED_ORIGINS holds 'null' or '*'.", id="headers.E003"))
    return messages


@register(Tags.security, "headers")
def check_policy(**_: Any) -> list[CheckMessage]:
    """The policies forbid inline and evaluated code and framing."""
    messages: list[CheckMessage] = []
    for name, policy in (
        ("CONTENT_SECURITY_POLICY", build_policy()),
        ("HEADERS_DATA_POLICY", settings.HEADERS_DATA_POLICY),
    ):
        if "unsafe-" in policy or "default-src" not in policy or "frame-ancestors" not in policy:
            hint = "No 'unsafe-…' source; default-src and frame-ancestors present. A page may use request.csp_nonce."
            messages.append(Error(f"{name} does not protect.", hint=hint, id="headers.E004"))
    return messages


@register(Tags.security, "headers")
def check_order(**_: Any) -> list[CheckMessage]:
    """The middlewares stand above whatever answers, so that errors and cached answers pass them too."""
    wanted = [HEADERS, SECURITY, POLICY, PROBLEMS, CORS]
    if [name for name in settings.MIDDLEWARE if name in wanted] == wanted:
        return []
    hint = "In this order: " + ", ".join(wanted)
    return [Error("The middlewares that set headers are missing or out of order.", hint=hint, id="headers.E005")]
