"""Production: base unchanged. rules.py and the system checks of each practice say what it requires."""

from settings.base import *  # noqa: F403 - prod is base
