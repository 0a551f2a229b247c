"""The Django application of the practices: it has no models and binds every practice's system checks."""

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

import structlog
from django.apps import AppConfig
from django.conf import settings

logger = structlog.get_logger(__name__)


class PracticesConfig(AppConfig):
    """Import what registers itself, and warn of names in the environment that are probably misspelt."""

    name = "apps.practices"
    label = "practices"
    verbose_name = "Practices"

    def ready(self) -> None:
        for module in iter_modules([self.path]):
            checks = f"{self.name}.{module.name}.checks"
            if module.ispkg and find_spec(checks):
                import_module(checks)
        import_module(f"{self.name}.database.failures")
        environment: Any = getattr(settings, "ENVIRONMENT", None)  # a settings module of your own may not have it
        for typo in environment.typos if environment else ():
            logger.warning("environment_name_not_read", detail=typo)
