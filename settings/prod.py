"""Production: base as it stands. What must hold here is checked before it runs (rules.py, and the checks of each practice)."""

from settings.base import *  # noqa: F403 - prod is base
