"""throttling (131): requests and seconds of each policy. A policy of q per w allows a burst of q, then one every w/q."""

from settings.env import ENVIRONMENT

THROTTLING_POLICIES = {
    "address": ENVIRONMENT["THROTTLE_ADDRESS"],
    "anon": ENVIRONMENT["THROTTLE_ANON"],
    "user": ENVIRONMENT["THROTTLE_USER"],
    "login": ENVIRONMENT["THROTTLE_LOGIN"],
}

# The function that names the user of a request before authentication, so that all its limits are counted in one round trip.
THROTTLING_USER_KNOWN = "apps.accounts.authentication.user_known"

# django-ratelimit, for HTML forms. It fails open: while Redis is unavailable, each process still counts the `address` limit.
RATELIMIT_USE_CACHE = "default"
RATELIMIT_FAIL_OPEN = True
RATELIMIT_IP_META_KEY = "apps.practices.mechanisms.proxies.client_address"
