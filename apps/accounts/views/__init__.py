"""The HTTP views of accounts and sessions."""
