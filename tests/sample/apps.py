"""The Django application of the sample."""

from django.apps import AppConfig


class SampleConfig(AppConfig):
    """Notes: the smallest resource that uses every practice."""

    name = "tests.sample"
    label = "sample"
