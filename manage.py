#!/usr/bin/env python3
"""Django's command line, in the project's own virtual environment whichever Python started it."""

import sys
from pathlib import Path

VENV = Path(__file__).resolve().parent / ".venv"


def main() -> None:
    """Run one management command."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        sys.exit("The command line is not UTF-8 text.")
    try:  # All that runs before Django, and Django: the system's Python may have some of it.
        from django.core.management import execute_from_command_line

        from settings.env import select_settings
    except ModuleNotFoundError as error:
        _enter_venv(error)
    else:
        select_settings()
        try:
            execute_from_command_line(sys.argv)
        except Exception as error:
            if "--traceback" in sys.argv or (told := _outage_message(error)) is None:
                raise
            sys.exit(told)


def _outage_message(error: Exception) -> str | None:
    """Return what to say of an error instead of its traceback: a database that cannot be used is no mistake of the code."""
    from django.conf import settings

    if not settings.configured:
        return None
    from apps.practices.database.failures import outage_message

    return outage_message(error)


def _enter_venv(error: ModuleNotFoundError) -> None:
    """Start again with .venv's Python, or say how to make it."""
    import os

    python = VENV / "bin" / "python"
    if Path(sys.prefix) == VENV or not python.exists():
        sys.exit(f"{error.name} is not installed: run bin/setup, then try again.")
    os.execv(python, [str(python), *sys.argv])  # noqa: S606 - the project's own Python, no shell wanted


if __name__ == "__main__":
    main()
