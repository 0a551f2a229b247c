"""Warnings about names in the environment that are probably misspelt."""

from typing import Any

import structlog
from django.conf import settings

logger = structlog.get_logger(__name__)


def typos_warn() -> None:
    """Log one warning for each unknown name that is probably a misspelling of a name without a value."""
    environment: Any = getattr(settings, "ENVIRONMENT", None)  # a settings module of your own may not have it
    for typo in environment.typos if environment else ():
        logger.warning("environment_name_not_read", detail=typo)
