"""The developers' tools. dev and test install them, staging and prod do not."""

from django.apps import AppConfig


class ToolsConfig(AppConfig):
    """Adds `manage.py prove`, `startresource` and `removeexample`."""

    name = "tools"
    label = "tools"
