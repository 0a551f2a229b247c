"""environment, broken: mistakes are found and nobody is told."""

from settings.env import Environment

Environment.require_valid = lambda environment: None
