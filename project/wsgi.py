"""The WSGI application that the server runs."""

from settings.env import select_settings

select_settings()

import django  # noqa: E402 - the settings module is chosen first

from project.handler import Application  # noqa: E402 - as above

django.setup(set_prefix=False)
application = Application()
