"""Production with the sample app: what the proofs and the live tests start."""

from settings.prod import *  # noqa: F403 - prod is all of it
from settings.prod import INSTALLED_APPS as _INSTALLED_APPS

INSTALLED_APPS = [*_INSTALLED_APPS, "tests.sample"]
ROOT_URLCONF = "tests.sample.urls"
