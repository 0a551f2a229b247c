"""Throttling: atomic limits by address, user and scope, with the standard headers."""
