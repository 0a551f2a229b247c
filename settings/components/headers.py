"""headers (132): what Helmet sets and Django lacks, the content security policy, CORS.

Django's SecurityMiddleware sets Strict-Transport-Security, X-Content-Type-Options, Referrer-Policy and
Cross-Origin-Opener-Policy; HeadersMiddleware the rest.
"""

from csp.constants import NONCE as _NONCE
from csp.constants import SELF as _SELF

from settings.env import ENVIRONMENT

HEADERS_FIXED = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Origin-Agent-Cluster": "?1",
    "Permissions-Policy": (
        "accelerometer=(), autoplay=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), "
        "microphone=(), midi=(), payment=(), usb=(), browsing-topics=()"
    ),
    "X-DNS-Prefetch-Control": "off",
    "X-Download-Options": "noopen",
    "X-Frame-Options": "DENY",
    "X-Permitted-Cross-Domain-Policies": "none",
    # The old filter of browsers made holes of its own; 0 turns it off.
    "X-XSS-Protection": "0",
}
# More of the kind, by environment: staging keeps search engines out.
HEADERS_EXTRA: dict[str, str] = {}

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
# Not "no-referrer": browsers then send `Origin: null` with forms, which the CSRF check refuses.
SECURE_REFERRER_POLICY = "same-origin"

# JSON, files, redirects: nothing in them may load or run anything, even if a browser were made to show them.
HEADERS_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        # django-csp leaves the nonce out unless the page asked for one.
        "script-src": [_SELF, _NONCE],
        "style-src": [_SELF, _NONCE],
        "img-src": [_SELF, "data:"],
        "font-src": [_SELF],
        "connect-src": [_SELF],
        "manifest-src": [_SELF],
        "form-action": [_SELF],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
if ENVIRONMENT["CSP_REPORT_URI"]:
    # report-to for browsers that have it, report-uri for the others.
    HEADERS_EXTRA["Reporting-Endpoints"] = f'csp="{ENVIRONMENT["CSP_REPORT_URI"]}"'
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["report-uri"] = [ENVIRONMENT["CSP_REPORT_URI"]]
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["report-to"] = ["csp"]

CORS_URLS_REGEX = r"^/api/"
CORS_ALLOWED_ORIGINS = ENVIRONMENT["CORS_ALLOWED_ORIGINS"]
# Cookie mode: pages of the listed origins, and of no other, may send our cookies along and read the answer.
CORS_ALLOW_CREDENTIALS = bool(CORS_ALLOWED_ORIGINS)
CORS_ALLOW_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
CORS_ALLOW_HEADERS = (
    "accept",
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "x-csrftoken",
    "x-request-id",
    "x-requested-with",  # which older HTTP libraries add by themselves
    # What tracing in the page adds to every call: W3C Trace Context and Baggage (OpenTelemetry), and Sentry's own.
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
)
CORS_EXPOSE_HEADERS = (
    "Age",
    "Allow",
    "Cache-Status",
    "Content-Disposition",
    "Deprecation",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Sunset",
    "WWW-Authenticate",
    "X-Request-ID",
)
# The longest that Chromium keeps it.
CORS_PREFLIGHT_MAX_AGE = 7200
