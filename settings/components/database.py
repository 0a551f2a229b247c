"""database (130): PostgreSQL."""

import environ

from settings.env import ENVIRONMENT

DATABASES = {"default": environ.Env.db_url_config(ENVIRONMENT["DATABASE_URL"])}
