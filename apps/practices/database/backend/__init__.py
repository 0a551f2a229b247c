"""Django's PostgreSQL backend with two additions (see ``base``). Settings name it by its path."""
