"""Heavy work that leaves the request: a ledger of jobs in PostgreSQL, and Celery to wake somebody up."""
