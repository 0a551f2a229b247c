"""throttling (131): how many requests in how many seconds, by whom. A policy of q per w is a burst of q, then one every w/q."""

from settings.env import ENVIRONMENT

THROTTLING_POLICIES = {
    "address": ENVIRONMENT["THROTTLE_ADDRESS"],
    "anon": ENVIRONMENT["THROTTLE_ANON"],
    "user": ENVIRONMENT["THROTTLE_USER"],
    "login": ENVIRONMENT["THROTTLE_LOGIN"],
}

# django-ratelimit, for HTML forms. Failing open: the flood limit stands with Redis away, counted by each process.
RATELIMIT_USE_CACHE = "default"
RATELIMIT_FAIL_OPEN = True
RATELIMIT_IP_META_KEY = "apps.practices.mechanisms.proxies.client_address"
