"""Staging: prod with other values, so that what works here works there."""

from settings.prod import *  # noqa: F403 - staging is prod with other values
from settings.prod import HEADERS_EXTRA as _HEADERS_EXTRA

# Hidden from search engines, and with a short HSTS, since browsers remember it.
HEADERS_EXTRA = {**_HEADERS_EXTRA, "X-Robots-Tag": "noindex, nofollow"}
SECURE_HSTS_SECONDS = 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = False
