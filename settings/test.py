"""Tests: as prod, but over plain http, with mail kept in memory and the sample app that the practices are tested on."""

from settings.base import *  # noqa: F403 - test is base with other values
from settings.base import INSTALLED_APPS as _INSTALLED_APPS

INSTALLED_APPS = [*_INSTALLED_APPS, "tests.sample"]
ROOT_URLCONF = "tests.sample.urls"
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Nothing is collected for tests: static files come from the apps that ship them, looked up when asked for.
STATIC_ROOT = None
WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = True
