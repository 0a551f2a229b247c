"""Production with the sample app: what the proofs and the live tests start."""

from settings.prod import *  # noqa: F403 - prod is all of it
from settings.prod import INSTALLED_APPS as _INSTALLED_APPS
from settings.prod import MIDDLEWARE as _MIDDLEWARE

INSTALLED_APPS = [*_INSTALLED_APPS, "tests.sample"]
# Looks at answers where CONTRACT_REPORT names a file, and takes itself out elsewhere.
MIDDLEWARE = ["tests.contract.middleware.ContractMiddleware", *_MIDDLEWARE]
ROOT_URLCONF = "tests.sample.urls"
