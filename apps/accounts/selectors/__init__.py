"""Reads of accounts and sessions."""
