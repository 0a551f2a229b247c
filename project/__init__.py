"""The project: puts the apps together for gunicorn, Celery and Django."""

from project.celery import app as celery_app

__all__ = ["celery_app"]  # so that every message is published with our settings
