"""The start of a web instance: ``python -m project.web`` becomes the server that WEB_SERVER names."""

import os

from settings.env import ENVIRONMENT

ENVIRONMENT.require_valid()
if ENVIRONMENT["WEB_SERVER"] == "granian":
    from project.granian import serve

    serve()
else:
    command = ["gunicorn", "-c", "project/gunicorn.py", "project.wsgi"]
    os.execvp(command[0], command)  # noqa: S606 - constant; signals must reach the server itself
