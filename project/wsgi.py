"""The WSGI application that the server runs."""

from settings.env import select_settings

select_settings()

import django  # noqa: E402 - the settings module is chosen first

django.setup(set_prefix=False)

from project.handler import Application  # noqa: E402 - it uses views, which need Django's apps

application = Application()
