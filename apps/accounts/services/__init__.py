"""Writes to accounts and sessions."""
