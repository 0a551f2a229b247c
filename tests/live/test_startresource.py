"""Resources of several shapes are written into a copy of the project, which is then as green as it was before, untouched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from apps.operations.stack import Stack
from tests.copies import ROOT, project_copy, run

SHAPES = (
    ("shop.Category", "name:str", "--public"),
    (
        "shop.Product",
        *("name:str", "price:decimal", "body:html", "published:bool", "owner:user", "category:fk:shop.Category"),
        "--public",
    ),
    (
        "diary.Note",  # as the sample app's is called
        *("title:str:80!", "text:text?", "day:date", "remind_at:datetime?", "mood:choice:good,bad", "extra:json?"),
        *("link:url?", "weight:int?", "owner:user"),
    ),
)
# A development environment whose servers are away: writing a resource needs none.
AWAY = {"DJANGO_ENV": "dev", "DATABASE_URL": "postgresql://a@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1"}
# What reads no database, as bin/test does it; types, which take longest, are begun first.
CHECKS = ("mypy", "lint-imports", "ruff check .", "ruff format --check apps project settings tests manage.py")
WALKS = ("tests/test_access.py", "tests/test_mass_assignment.py", "tests/test_schema.py")


@pytest.mark.timeout(600)
def test_what_is_written_is_green_at_once(tmp_path: Path, stack: Stack) -> None:
    copy = project_copy(tmp_path / "project")
    if (ROOT / ".mypy_cache").exists():  # what is the same in both is not read again
        shutil.copytree(ROOT / ".mypy_cache", copy / ".mypy_cache")
    for shape in SHAPES:
        ran = run(copy, "python", "manage.py", "startresource", *shape, **AWAY)
        assert ran.returncode == 0, ran.stdout
    plain = {**AWAY, "DJANGO_SETTINGS_MODULE": "settings.test"}
    del plain["DJANGO_ENV"]
    for check in CHECKS:
        ran = run(copy, *check.split(), seconds=300, **plain)
        assert ran.returncode == 0, f"{check}\n{ran.stdout[-4000:]}"
    for arguments in (
        ("tests/apps/shop", "tests/apps/diary", "tests/practices/test_error_map.py"),
        (*WALKS, "-k", f"{' or '.join(('categor', 'product', 'notes', 'shop', 'diary'))} or schema or every_operation"),
        ("tests/test_plans.py", "-k", "products or (api/v1/notes and not sample)"),
        ("tests/practices/test_validation_properties.py",),
    ):
        ran = run(copy, "pytest", "-q", *arguments, seconds=300)
        assert ran.returncode == 0, ran.stdout[-8000:]
    script = "python manage.py makemigrations --check --dry-run && python -m tests.migrations && python manage.py check"
    ran = run(copy, "sh", "-e", script=script, **{**plain, **stack.state.urls})
    assert ran.returncode == 0, ran.stdout
