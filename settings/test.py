"""Tests: like prod, but with plain HTTP, mail in memory, and the sample app that tests of practices use."""

from settings.base import *  # noqa: F403 - test is base with other values
from settings.base import INSTALLED_APPS as _INSTALLED_APPS
from settings.base import MIDDLEWARE as _MIDDLEWARE

# zeal raises if a view loads rows one by one (N+1).
INSTALLED_APPS = [*_INSTALLED_APPS, "tools", "zeal", "tests.sample"]
# Every response is checked against the OpenAPI document.
MIDDLEWARE = ["tests.contract.middleware.ContractMiddleware", *_MIDDLEWARE, "zeal.middleware.zeal_middleware"]
ZEAL_RAISE = True
# Each kept statement is compared with what the ORM compiles.
DATABASE_VERIFIES_PREPARED = True
ROOT_URLCONF = "tests.sample.urls"
JOBS_RUNNING_PER_USER = 1_000  # most tests use one owner
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Tests collect no static files: they are found in the apps' folders on request.
STATIC_ROOT = None
WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = True
# The short names that tests use; tests/practices/test_https.py checks those of dev and prod.
TOKENS_ACCESS_COOKIE, TOKENS_REFRESH_COOKIE, TOKENS_BINDING_COOKIE = "access", "refresh", "binding"
TOKENS_DEVICE_COOKIE = "device"
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "sessionid", "csrftoken"
