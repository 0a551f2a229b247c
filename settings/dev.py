"""Development: readable errors and logs, plain http on localhost, limits ten times wider (see variables.py)."""

from settings.base import *  # noqa: F403 - dev is base with other values

DEBUG = True
