"""The Django application of the practices: it has no models and binds every practice's system checks."""

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

from django.apps import AppConfig

from apps.practices.environment.typos import typos_warn


class PracticesConfig(AppConfig):
    """Import what registers itself: the checks of each practice, and the database's exceptions."""

    name = "apps.practices"
    label = "practices"
    verbose_name = "Practices"

    def ready(self) -> None:
        for module in iter_modules([self.path]):
            checks = f"{self.name}.{module.name}.checks"
            if module.ispkg and find_spec(checks):
                import_module(checks)
        import_module(f"{self.name}.database.failures")
        typos_warn()
