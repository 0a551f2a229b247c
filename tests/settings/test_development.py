"""What development shows that production does not."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Two rows, and a view that asks for the owner of each.
SCRIPT = """
import django
django.setup()
from django.db import transaction
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.module_loading import import_string
from django.conf import settings
from django.contrib.auth.models import Permission
assert "zeal" in settings.INSTALLED_APPS
from zeal import NPlusOneError

def careless(request):
    return HttpResponse([permission.content_type.model for permission in Permission.objects.all()[:5]])

[name] = [name for name in settings.MIDDLEWARE if "zeal" in name]
try:
    import_string(name)(careless)(RequestFactory().get("/"))
except NPlusOneError as error:
    print("refused:", error)
else:
    print("not detected")
"""


def test_n_plus_1_is_an_error_in_development(transactional_db: None) -> None:
    from django.db import connection

    name = connection.settings_dict["NAME"]
    url = os.environ["DATABASE_URL"]
    head, _, query = url.partition("?")
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "settings.dev",
        "DATABASE_URL": f"{head.rpartition('/')[0]}/{name}{'?' + query if query else ''}",
    }
    environment.pop("DJANGO_ENV", None)
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "refused: N+1 detected on auth.Permission.content_type" in ran.stdout, ran.stdout + ran.stderr
