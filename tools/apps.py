"""The workshop: what developers use and no deployment has. dev and test install it, staging and prod do not."""

from django.apps import AppConfig


class ToolsConfig(AppConfig):
    """Add `manage.py prove` and `manage.py startresource`."""

    name = "tools"
    label = "tools"
