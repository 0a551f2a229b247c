#!/bin/sh
# Django 5.2.19: `check --deploy` looks for SecurityMiddleware by its dotted path in MIDDLEWARE. A project that installs a
# subclass of it is told that it has none (security.W001), though its headers are sent, and is not told that HSTS is off
# (W004) or that plain HTTP is not redirected (W008): these checks are skipped with the path. So a subclass, made to save or
# to change a header, silently loses the checks that look after the others.
#
# Output seen, 2026-11-30:
#   django.middleware.security.SecurityMiddleware: W004 W008
#   shop.Security, a subclass: W001
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check django==5.2.19
cd "$folder"
cat > shop.py <<'PYTHON'
import os

from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["shop.example"], MIDDLEWARE=[os.environ["SECURITY"]], SECRET_KEY="x" * 20 + "abcdefghijklmnopqrstuvwxyz0123456789"
)
from django.middleware.security import SecurityMiddleware


class Security(SecurityMiddleware):
    pass


if __name__ == "__main__":
    import django
    from django.core.checks import run_checks

    django.setup()
    found = {message.id.removeprefix("security.") for message in run_checks(include_deployment_checks=True)}
    print(*sorted(found & {"W001", "W004", "W008"}))
PYTHON
plain=$(SECURITY=django.middleware.security.SecurityMiddleware venv/bin/python shop.py)
own=$(SECURITY=shop.Security venv/bin/python shop.py)
echo "django.middleware.security.SecurityMiddleware: $plain"
echo "shop.Security, a subclass: $own"
[ "$plain" = "W004 W008" ] && [ "$own" = "W001" ] || { echo "Django finds the middleware in another way now." >&2; exit 1; }
