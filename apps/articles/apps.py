"""The Django application of articles."""

from django.apps import AppConfig


class ArticlesConfig(AppConfig):
    """The app of articles."""

    name = "apps.articles"
    label = "articles"
