"""The sample service with a planted fault."""

from tests.sample.settings import *  # noqa: F403 - the sample's is all of it

ROOT_URLCONF = "tests.contract.urls"
