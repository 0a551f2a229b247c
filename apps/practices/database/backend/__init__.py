"""Django's PostgreSQL backend with two additions: see ``base``. Named in settings, so nothing is imported there."""
