"""System checks of headers."""

from collections.abc import Iterator
from typing import Any

from corsheaders.conf import conf as cors
from csp.utils import build_policy
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register


@register(Tags.security, "headers")
def check_headers(**_: Any) -> list[CheckMessage]:
    """Report E001 to E003: CORS for origins that nobody listed; E004: a policy that protects little."""
    return [*_cors(), *_policies()]


def _cors() -> Iterator[Error]:
    if cors.CORS_ALLOW_ALL_ORIGINS and cors.CORS_ALLOW_CREDENTIALS:
        hint = "List the origins in CORS_ALLOWED_ORIGINS."
        yield Error("CORS allows credentials from every origin.", hint=hint, id="headers.E001")
    if cors.CORS_ALLOWED_ORIGIN_REGEXES and cors.CORS_ALLOW_CREDENTIALS:
        hint = "A pattern can match a domain that is not yours. List the origins in CORS_ALLOWED_ORIGINS."
        yield Error("CORS allows credentials from origins that match a pattern.", hint=hint, id="headers.E002")
    if "null" in cors.CORS_ALLOWED_ORIGINS or "*" in cors.CORS_ALLOWED_ORIGINS:  # null: sandboxed frames, local files
        hint = "List each origin, such as https://app.example.com."
        yield Error("CORS_ALLOWED_ORIGINS contains 'null' or '*'.", hint=hint, id="headers.E003")


def _policies() -> Iterator[Error]:
    policies = {"CONTENT_SECURITY_POLICY": build_policy(), "HEADERS_DATA_POLICY": settings.HEADERS_DATA_POLICY}
    for name, policy in policies.items():
        if "unsafe-" in policy or "default-src" not in policy or "frame-ancestors" not in policy:
            text = f"{name} allows unsafe-* sources, or lacks default-src or frame-ancestors."
            hint = "Remove the unsafe-* sources and set both directives. For an inline script, use request.csp_nonce."
            yield Error(text, hint=hint, id="headers.E004")
