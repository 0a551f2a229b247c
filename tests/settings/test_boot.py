"""Every settings module boots with every variable set, without servers, and has no setting without effect."""

import importlib
import os
import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.conf import global_settings

from settings.variables import ENVIRONMENTS, VARIABLES
from tests.practices.test_environment import STRONG, VALID

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / ".env.example").read_text()
EXAMPLES = dict(re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE, flags=re.MULTILINE))
PACKAGES = """
django rest_framework rest_framework_simplejwt corsheaders csp django_redis django_ratelimit django_structlog
whitenoise drf_spectacular drf_spectacular_sidecar zeal apps project tests.sample
""".split()  # noqa: SIM905 - a list of names to read


def test_the_example_lists_the_names_that_are_read():
    assert list(EXAMPLES) == [variable.name for variable in VARIABLES]


def test_the_example_says_why():
    flat = " ".join(re.sub(r"^# ?", "", line) for line in EXAMPLE.splitlines())
    for variable in VARIABLES:
        assert variable.why in flat


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_module_boots_with_every_variable_set(name):
    process = {key: value for key, value in EXAMPLES.items() if value} | VALID
    process |= {"DJANGO_ENV": name, "METRICS_TOKEN": STRONG, "CACHE_URL": "redis://127.0.0.1:1/1"}
    process["BROKER_URL"] = "redis://127.0.0.1:1/2"
    code = "import django; django.setup(); from django.core.management import call_command; call_command('check')"
    ran = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:django", "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": f"settings.{name}", **process},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@cache
def names_asked_for() -> set[str]:
    """Return every upper-case name that an installed package or the project reads from the settings."""
    found: set[str] = set()
    for package in PACKAGES:
        folder = Path(find_spec(package).submodule_search_locations[0])
        for path in folder.rglob("*.py"):
            if path.name != "checks.py":  # a package's system checks name what it no longer reads
                found.update(
                    *map(set, re.findall(r"settings\.([A-Z][A-Z0-9_]+)|[\"']([A-Z][A-Z0-9_]+)[\"']", path.read_text()))
                )
    return found


def is_read(name: str) -> bool:
    """Return whether Django declares the setting, Celery knows it, or some code reads it by name."""
    if hasattr(global_settings, name):
        return True
    if name.startswith("CELERY_"):
        from celery.app.defaults import NAMESPACES, flatten
        from celery.fixups import django as fixup

        if name in re.findall(r"conf\.get\('(CELERY_[A-Z_]+)'", Path(fixup.__file__).read_text()):
            return True  # read by Celery's Django fixup, so not among its defaults
        return name.removeprefix("CELERY_").lower() in {key for key, _ in flatten(NAMESPACES)}
    # django-structlog adds a prefix to the names that it reads.
    return bool({name, name.removeprefix("DJANGO_STRUCTLOG_")} & names_asked_for())


@pytest.mark.parametrize("module", ["dev", "test"])
def test_no_setting_is_without_effect(module, settings):
    loaded = importlib.import_module("settings.test" if module == "test" else "settings.base")
    names = [name for name in dir(loaded) if name.isupper() and not name.startswith("_")]
    assert [name for name in names if not is_read(name)] == []


@pytest.mark.parametrize(
    "name",
    ["STATICFILES_STORAGE", "USE_L10N", "CELERY_TASK_MAX_RETRIES", "CORS_ALLOWED_CREDENTIALS", "CSP_DEFAULT_SRC"],
)
def test_names_without_effect_are_found(name):
    assert not is_read(name)


def test_nested_names_are_read_too(settings):
    from drf_spectacular.settings import SPECTACULAR_DEFAULTS
    from rest_framework.settings import DEFAULTS

    assert set(settings.REST_FRAMEWORK) <= set(DEFAULTS)
    assert set(settings.SPECTACULAR_SETTINGS) <= set(SPECTACULAR_DEFAULTS)
    if hasattr(settings, "SIMPLE_JWT"):
        from rest_framework_simplejwt.settings import DEFAULTS as JWT_DEFAULTS

        assert set(settings.SIMPLE_JWT) <= set(JWT_DEFAULTS)
