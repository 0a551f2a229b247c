#!/usr/bin/env python3
"""Django's command line. It uses the project's virtual environment, whichever Python starts it."""

import sys
from pathlib import Path

VENV = Path(__file__).resolve().parent / ".venv"


def main() -> None:
    """Run one management command."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        sys.exit("The command line is not valid UTF-8.")
    try:  # The system's Python may have some of these packages, but not all.
        from django.core.management import execute_from_command_line

        from settings.env import select_settings
    except ModuleNotFoundError as error:
        _enter_venv(error)
    else:
        select_settings()
        try:
            execute_from_command_line(sys.argv)
        except Exception as error:
            if "--traceback" in sys.argv or (message := _outage_message(error)) is None:
                raise
            sys.exit(message)


def _outage_message(error: Exception) -> str | None:
    """Return a message to print instead of the traceback if the error is that the database cannot be used; else None."""
    from django.conf import settings

    if not settings.configured:
        return None
    from apps.practices.database.failures import outage_message

    return outage_message(error)


def _enter_venv(error: ModuleNotFoundError) -> None:
    """Start again with .venv's Python, or exit with a message that says how to create it."""
    import os

    python = VENV / "bin" / "python"
    if Path(sys.prefix) == VENV or not python.exists():
        sys.exit(f"{error.name} is not installed. Run bin/setup, then try again.")
    os.execv(python, [str(python), *sys.argv])  # noqa: S606 - the project's own Python, no shell wanted


if __name__ == "__main__":
    main()
