"""Names in the environment that are probably misspelt."""

from typing import Any

import structlog
from django.conf import settings

logger = structlog.get_logger(__name__)


def typos_warn() -> None:
    """Log one warning for each name that nothing reads and that is a slip of a finger away from one that is not set."""
    environment: Any = getattr(settings, "ENVIRONMENT", None)  # a settings module of one's own may have none
    for slip in environment.typos if environment else ():
        logger.warning("environment_name_not_read", detail=slip)
