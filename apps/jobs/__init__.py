"""Background jobs: stored in PostgreSQL, run by Celery workers, which messages only wake."""
