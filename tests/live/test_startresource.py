"""Resources of several shapes are written into a copy of the project, which is then as green as it was before, untouched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

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
        *("link:url?", "contact:email?", "weight:int?", "price:decimal:8:3?", "owner:user"),
        *("first:fk:shop.Product", "second:fk:shop.Product?"),
    ),
)
# A development environment whose servers are away: writing a resource needs none.
AWAY = {"DJANGO_ENV": "dev", "DATABASE_URL": "postgresql://a@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1"}
CHECKS = "import sys; from tests.run import run_stages; sys.exit(run_stages()['failed'])"
WALKS = ("tests/test_access.py", "tests/test_mass_assignment.py", "tests/test_schema.py")


@pytest.mark.timeout(600)
def test_what_is_written_is_green_at_once(tmp_path: Path) -> None:
    copy = project_copy(tmp_path / "project")
    if (ROOT / ".mypy_cache").exists():  # what is the same in both is not read again
        shutil.copytree(ROOT / ".mypy_cache", copy / ".mypy_cache")
    for shape in SHAPES:
        ran = run(copy, "python", "manage.py", "startresource", *shape, **AWAY)
        assert ran.returncode == 0, ran.stdout
    ran = run(copy, "python", "-c", CHECKS, seconds=400)
    assert ran.returncode == 0, ran.stdout[-8000:]
    for arguments in (
        ("tests/apps/shop", "tests/apps/diary", "tests/apps/operations", "tests/practices/test_error_map.py"),
        (*WALKS, "-k", f"{' or '.join(('categor', 'product', 'notes', 'shop', 'diary'))} or schema or every_operation"),
        ("tests/test_plans.py", "-k", "products or (api/v1/notes and not sample)"),
        (
            "tests/practices/test_validation_properties.py",
            "tests/practices/test_validation_fields.py",
            "tests/test_docs.py",
        ),
    ):
        ran = run(copy, "pytest", "-q", *arguments, seconds=300)
        assert ran.returncode == 0, ran.stdout[-8000:]
