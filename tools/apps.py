"""The developers' tools. dev and test install them, staging and prod do not."""

from django.apps import AppConfig


class ToolsConfig(AppConfig):
    """Adds the developers' commands to `manage.py`."""

    name = "tools"
    label = "tools"
