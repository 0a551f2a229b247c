"""Tests: as prod, but over plain http, with mail kept in memory and the sample app that the practices are tested on."""

from settings.base import *  # noqa: F403 - test is base with other values
from settings.base import INSTALLED_APPS as _INSTALLED_APPS
from settings.base import MIDDLEWARE as _MIDDLEWARE

# zeal raises when a view loads rows one by one that one query could have loaded (N+1).
INSTALLED_APPS = [*_INSTALLED_APPS, "tools", "zeal", "tests.sample"]
# Every answer is held against the OpenAPI document.
MIDDLEWARE = ["tests.contract.middleware.ContractMiddleware", *_MIDDLEWARE, "zeal.middleware.zeal_middleware"]
ZEAL_RAISE = True
ROOT_URLCONF = "tests.sample.urls"
JOBS_RUNNING_PER_USER = 1_000  # one owner's jobs are those of most tests
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Nothing is collected for tests: static files come from the apps that ship them, looked up when asked for.
STATIC_ROOT = None
WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = True
# The short names that tests write out; tests/practices/test_https.py holds those of dev and prod.
TOKENS_ACCESS_COOKIE, TOKENS_REFRESH_COOKIE, TOKENS_BINDING_COOKIE = "access", "refresh", "binding"
TOKENS_DEVICE_COOKIE = "device"
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "sessionid", "csrftoken"
