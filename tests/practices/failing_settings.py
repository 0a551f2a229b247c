"""The settings of tests with the routes that fail, for a real server process."""

from settings.test import *  # noqa: F403 - the same, with other routes

ROOT_URLCONF = "tests.practices.failing"
ALLOWED_HOSTS = ["127.0.0.1"]
