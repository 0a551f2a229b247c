"""The WSGI application that gunicorn serves."""

from settings.env import select_settings

select_settings()

from django.core.wsgi import get_wsgi_application  # noqa: E402 - the settings module is chosen first

application = get_wsgi_application()
