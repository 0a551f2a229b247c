"""https (134): everything follows from the scheme of PUBLIC_URL, so development and tests over http need no switch."""

import re

from settings.env import ENVIRONMENT

_HTTPS = (ENVIRONMENT["PUBLIC_URL"] or "https:").startswith("https:")

# HttpsMiddleware reads this switch: it redirects pages and refuses API calls. Django's own redirect would redirect both, so every
# path is exempt from it. The setting has Django's name because `check --deploy` and readers know it.
SECURE_SSL_REDIRECT = _HTTPS
SECURE_REDIRECT_EXEMPT = [""]

# Two years, as browsers' preload lists require; shorter in staging. Preloading cannot be undone, so it is left to you.
SECURE_HSTS_SECONDS = 63_072_000 if _HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _HTTPS
SECURE_HSTS_PRELOAD = False

# granian cannot tell X_Forwarded_For from X-Forwarded-For, so it needs a proxy that drops the first (check_scheme).
WEB_SERVER = ENVIRONMENT["WEB_SERVER"]

# All ports of localhost share their cookies. The service's name keeps these apart from those of other projects.
_OWN = re.sub(r"[^a-z0-9]+", "-", (ENVIRONMENT["SITE_NAME"] or "").lower()).strip("-") or "site"

# With this prefix, browsers refuse the cookie from any other host and over http (RFC 6265bis, 4.1.3.2).
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
SESSION_COOKIE_NAME = "__Host-sessionid" if _HTTPS else f"{_OWN}-sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if _HTTPS else f"{_OWN}-csrftoken"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"

# The cookies of cookie mode (apps/accounts/transports.py). The refresh token is sent only to the path that uses it, which a
# __Host- cookie cannot be, since its path must be /. Another host of the domain could set a __Secure- cookie; so the binding
# cookie, which only this host can set, says which session is this browser's.
TOKENS_COOKIE_SECURE = _HTTPS
TOKENS_ACCESS_COOKIE = "__Host-access" if _HTTPS else f"{_OWN}-access"
TOKENS_REFRESH_COOKIE = "__Secure-refresh" if _HTTPS else f"{_OWN}-refresh"
TOKENS_BINDING_COOKIE = "__Host-binding" if _HTTPS else f"{_OWN}-binding"
TOKENS_DEVICE_COOKIE = "__Host-device" if _HTTPS else f"{_OWN}-device"  # marks a browser that has signed in before
TOKENS_REFRESH_PATH = "/api/v1/auth/"
