"""mail: by which server, from whom, and in staging to whom instead."""

from typing import Any

import environ

from settings.env import ENVIRONMENT

_MAIL: dict[str, Any] = environ.Env.email_url_config(ENVIRONMENT["EMAIL_URL"] or "dummymail://")

EMAIL_BACKEND: str = _MAIL["EMAIL_BACKEND"]
EMAIL_HOST: str = _MAIL.get("EMAIL_HOST") or "localhost"
EMAIL_PORT: int = _MAIL.get("EMAIL_PORT") or 25
EMAIL_HOST_USER: str = _MAIL.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD: str = _MAIL.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS: bool = _MAIL.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL: bool = _MAIL.get("EMAIL_USE_SSL", False)
EMAIL_FILE_PATH: str | None = _MAIL.get("EMAIL_FILE_PATH") or None
EMAIL_TIMEOUT = 10  # seconds; mails are sent by workers, which try again
EMAIL_REDIRECT: str | None = ENVIRONMENT["EMAIL_REDIRECT"]
DEFAULT_FROM_EMAIL = SERVER_EMAIL = ENVIRONMENT["EMAIL_FROM"] or "noreply@localhost"
