"""Production settings with the sample app, for proofs and live tests."""

import os

from settings.prod import *  # noqa: F403 - prod is all of it
from settings.prod import INSTALLED_APPS as _INSTALLED_APPS
from settings.prod import MIDDLEWARE as _MIDDLEWARE

INSTALLED_APPS = [*_INSTALLED_APPS, "tests.sample"]
MIDDLEWARE = _MIDDLEWARE
ROOT_URLCONF = "tests.sample.urls"
if os.environ.get("CONTRACT_REPORT"):  # Needs what bin/test installs; proofs run with what bin/dev installs.
    MIDDLEWARE = ["tests.contract.middleware.ContractMiddleware", *MIDDLEWARE]
