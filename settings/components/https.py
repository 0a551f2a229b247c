"""https (134): everything follows from the scheme of PUBLIC_URL, so that http in development and tests needs no switch."""

import re

from settings.env import ENVIRONMENT

_HTTPS = (ENVIRONMENT["PUBLIC_URL"] or "https:").startswith("https:")

# The one switch. HttpsMiddleware obeys it: pages are redirected, API calls refused. Django's own redirect would do both alike,
# so every path is exempt from it; the setting keeps its name because `check --deploy` and readers know it.
SECURE_SSL_REDIRECT = _HTTPS
SECURE_REDIRECT_EXEMPT = [""]

# Two years, as browsers' preload lists ask; staging is shorter. Preloading itself is the owner's decision: it cannot be undone.
SECURE_HSTS_SECONDS = 63_072_000 if _HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _HTTPS
SECURE_HSTS_PRELOAD = False

# Over http on localhost, where every port shares its cookies, the service's name keeps them apart from other projects'.
_OWN = re.sub(r"[^a-z0-9]+", "-", (ENVIRONMENT["SITE_NAME"] or "").lower()).strip("-") or "site"

# The prefix makes browsers refuse the cookie from any other host or over http (RFC 6265bis, 4.1.3.2).
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
SESSION_COOKIE_NAME = "__Host-sessionid" if _HTTPS else f"{_OWN}-sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if _HTTPS else f"{_OWN}-csrftoken"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"

# The tokens of a sign-in in cookie mode (apps/accounts/transports.py): the refresh token goes to where it is used alone,
# which a __Host- cookie cannot, its path being /. Its name does not keep another host of the domain from setting one, so a
# __Host- cookie, which no other host can set, says which sign-in is this browser's.
TOKENS_COOKIE_SECURE = _HTTPS
TOKENS_ACCESS_COOKIE = "__Host-access" if _HTTPS else f"{_OWN}-access"
TOKENS_REFRESH_COOKIE = "__Secure-refresh" if _HTTPS else f"{_OWN}-refresh"
TOKENS_BINDING_COOKIE = "__Host-binding" if _HTTPS else f"{_OWN}-binding"
TOKENS_DEVICE_COOKIE = "__Host-device" if _HTTPS else f"{_OWN}-device"  # a browser that has signed in before
TOKENS_REFRESH_PATH = "/api/v1/auth/"
