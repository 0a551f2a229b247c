"""The sample service with two cached views for the fault tests of caching."""

from tests.sample.settings import *  # noqa: F403 - production, with other routes

ROOT_URLCONF = "tests.faults.cached_urls"
