"""Throttling: atomic limits by address, by user and by scope, with the standard headers."""
