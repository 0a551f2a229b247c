"""The job ledger."""
