"""``manage.py env``: print the configuration in force and its sources, as lines of an env file."""

import re
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = (
        "Print every environment variable that has an effect, with its value in force and the layer it came from, as lines of "
        "an env file. Secrets are hidden. Secrets and unset variables are printed as comments. Later layers win: default, "
        "var/stack.json (dev), .env, .env.local, .env.<name>, .env.<name>.local, the process environment. NAME_FILE reads "
        "NAME from a file."
    )
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        environment: Any = getattr(settings, "ENVIRONMENT")  # noqa: B009 - a setting that the stubs do not know
        self.stdout.write(f"# environment: {environment.name} (settings module {settings.SETTINGS_MODULE})\n")
        lines = {name: _line(entry) for name, entry in environment.entries.items()}
        width = min(60, max(map(len, lines.values())))
        for name, line in lines.items():
            self.stdout.write(f"{line:<{width}}  # {environment.entries[name].source}")
        for name in environment.ignored:
            self.stdout.write(f"# unknown, has no effect: {name}")
        for typo in environment.typos:
            self.stdout.write(f"# {typo}")


def _line(entry: Any) -> str:
    """Return the assignment as an operator would write it, as a comment if pasting it would change the value."""
    name = entry.variable.name
    if _is_hidden(entry):
        return f"#{name}={_hidden(entry.value)}"
    if entry.text is None:
        return f"#{name}="
    if re.fullmatch(r"[\w.,:/@%+=&?\[\]-]*", entry.text):
        return f"{name}={entry.text}"
    quoted = entry.text.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{quoted}'"


def _is_hidden(entry: Any) -> bool:
    return entry.variable.secret and entry.value not in (None, [], "")


def _hidden(value: Any) -> str:
    """Return a placeholder for a secret. Keep a URL's scheme, host, port and path, to show where it leads."""
    if isinstance(value, str) and "://" in value:
        try:
            parts = urlsplit(value)
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            return "(hidden)"
        return f"{parts.scheme}://(hidden)@{parts.hostname or ''}{port}{parts.path}"
    return "(hidden)"
