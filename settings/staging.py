"""Staging: prod with other values, so that what works here works there."""

from settings.prod import *  # noqa: F403 - staging is prod with other values
