"""Development: readable errors and logs, plain http on localhost, limits ten times wider (see variables.py)."""

from settings.base import *  # noqa: F403 - dev is base with other values
from settings.base import INSTALLED_APPS as _INSTALLED_APPS
from settings.base import MIDDLEWARE as _MIDDLEWARE

DEBUG = True

# A view that loads rows one by one (N+1) fails with the name of the relation: add select_related() or prefetch_related() to
# its selector. Innermost, so that the error becomes a problem document.
INSTALLED_APPS = [*_INSTALLED_APPS, "tools", "zeal"]
MIDDLEWARE = [*_MIDDLEWARE, "zeal.middleware.zeal_middleware"]
ZEAL_RAISE = True
# A selector that depends on more than its arguments fails, since its SQL is kept (apps/practices/database/prepared.py).
DATABASE_VERIFIES_PREPARED = True
