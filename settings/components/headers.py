"""headers (132): the headers that Helmet sets, the content security policy, CORS.

Django's SecurityMiddleware sets Strict-Transport-Security, X-Content-Type-Options, Referrer-Policy and
Cross-Origin-Opener-Policy; HeadersMiddleware sets the rest.
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
    # The XSS filter of old browsers opened holes itself; 0 turns it off.
    "X-XSS-Protection": "0",
}
# Further headers by environment: staging keeps search engines out.
HEADERS_EXTRA: dict[str, str] = {}

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
# Not "no-referrer": browsers would send `Origin: null` with forms, which the CSRF check refuses.
SECURE_REFERRER_POLICY = "same-origin"

# For JSON, files and redirects: even if a browser displays them, they may load and run nothing.
HEADERS_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        # django-csp omits the nonce unless the page has used it.
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
    # report-to for browsers that support it, report-uri for the others.
    HEADERS_EXTRA["Reporting-Endpoints"] = f'csp="{ENVIRONMENT["CSP_REPORT_URI"]}"'
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["report-uri"] = [ENVIRONMENT["CSP_REPORT_URI"]]
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["report-to"] = ["csp"]

CORS_URLS_REGEX = r"^/api/"
CORS_ALLOWED_ORIGINS = ENVIRONMENT["CORS_ALLOWED_ORIGINS"]
# Cookie mode: only pages of the listed origins may send our cookies and read the response.
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
    "x-requested-with",  # added by older HTTP libraries
    # Added by tracing in the page: W3C Trace Context and Baggage (OpenTelemetry), and Sentry's header.
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
)
CORS_EXPOSE_HEADERS = (
    "Age",
    "Allow",
    "Cache-Group-Invalidation",
    "Cache-Groups",
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
# The longest time for which Chromium caches a preflight.
CORS_PREFLIGHT_MAX_AGE = 7200
