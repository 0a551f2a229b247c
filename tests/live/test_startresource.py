"""Resources of several shapes are generated in a copy of the project, which then passes all checks and tests without an edit.

So is the one that `docs/add-a-resource.md` adds by hand.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.copies import ROOT, project_copy, run
from tools.startresource.registration import CONTRACTS, SETTINGS, URLS, registered
from tools.startresource.specification import parse

SHAPES = (
    ("shop.Category", "name:str", "--public"),
    (
        "shop.Product",
        *("name:str", "code:slug!", "price:decimal", "body:html", "published:bool", "owner:user"),
        *("category:fk:shop.Category", "--public", "--jobs"),
    ),
    (
        "diary.Note",  # as the sample app's is called
        *("title:str:80!", "text:text?", "day:date", "remind_at:datetime?", "mood:choice:good,bad", "extra:json?"),
        *("link:url?", "contact:email?", "weight:int?", "price:decimal:8:3?", "owner:user"),
        *("first:fk:shop.Product", "second:fk:shop.Product?"),
    ),
    # A reference to rows that are not everybody's.
    ("desk.Ticket", "title:str", "requester:user?"),
    ("desk.Comment", "text:text", "ticket:fk:desk.Ticket", "author:user", "--jobs"),
)
# One more than the app's views.py has room for: that is made a package, as the refusal says.
THIRD = ("shop.Review", "text:text", "stars:int", "product:fk:shop.Product", "author:user?", "--public")
# A development environment whose servers are away: writing a resource needs none.
UNREACHABLE = {"DJANGO_ENV": "dev", "DATABASE_URL": "postgresql://a@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1"}
CHECKS = "import sys; from tests.run import run_stages; sys.exit(run_stages()['failed'])"
# In the ids of tests about them.
WRITTEN = ("categor", "product", "notes", "event", "review", "shop", "diary", "ticket", "comment", "desk")
WALKS = ("tests/test_access.py", "tests/test_mass_assignment.py", "tests/test_references.py", "tests/test_schema.py")
PROPERTIES = "tests/practices/test_validation_properties.py"
OWN = tuple(f"tests/apps/jobs/test_{subject}.py" for subject in ("schedules", "worker_start", "idempotency"))
FIELDS = (  # what is said of every field there is, and the pages
    f"{PROPERTIES}::test_any_body_is_handled_and_stored_text_is_clean",
    f"{PROPERTIES}::test_any_query_is_handled",
    f"{PROPERTIES}::test_unclean_text_is_never_stored",
    "tests/practices/test_validation_fields.py::test_every_writable_field_is_bounded",
    "tests/test_docs.py",
)


JOBS_COMPONENT = "settings/components/jobs.py"


def made_their_own(copy: Path) -> None:
    """Change what the documents let a team change: a queue, a schedule, the README."""
    jobs = (copy / JOBS_COMPONENT).read_text()
    jobs = jobs.replace('_QUEUES = ["default", "mail"]', '_QUEUES = ["default", "mail", "heavy"]')
    entry = '    "prune": {"kind": "operations.prune"'
    jobs = jobs.replace(entry, f'    "again": {{"kind": "operations.prune", "every": 3600}},\n{entry}')
    assert jobs.count('"heavy"') == jobs.count('"again"') == 1
    (copy / JOBS_COMPONENT).write_text(jobs)
    (copy / "README.md").write_text("# Helpdesk\n\nWhere customers are helped.\n")


def by_hand(copy: Path) -> None:
    """Do what the page says: a file for each of its blocks, named before it, and the app in each list."""
    page = (ROOT / "docs" / "add-a-resource.md").read_text().partition("## By hand\n")[2]
    name = ""
    for before, block in re.findall(r"(.*?)(?:```(?:python)?\n(.*?)```|\Z)", page, flags=re.DOTALL):
        name = [name, *re.findall(r"`((?:apps|tests/apps)/events/\w+\.(?:py|txt))`", before)][-1]
        if block:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_text(block)
    for folder in ("apps/events", "tests/apps/events"):
        (copy / folder / "__init__.py").write_text('"""Events."""\n')
    lists = {path: (copy / path).read_text() for path in (SETTINGS, URLS, CONTRACTS, "README.md")}
    resource = parse(name="events.Event", fields=["title:str"], is_public=True, plural=None)
    for path, text in registered(resource, lists).items():
        (copy / path).write_text(text)
    ran = run(copy, "python", "manage.py", "makemigrations", "events", **UNREACHABLE)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.timeout(600)
def test_what_is_written_is_green_at_once(tmp_path: Path) -> None:
    copy = project_copy(tmp_path / "project")
    if (ROOT / ".mypy_cache").exists():  # what is the same in both is not read again
        shutil.copytree(ROOT / ".mypy_cache", copy / ".mypy_cache")
    made_their_own(copy)
    for shape in SHAPES:
        ran = run(copy, "python", "manage.py", "startresource", *shape, **UNREACHABLE)
        assert ran.returncode == 0, ran.stdout
    refused = run(copy, "python", "manage.py", "startresource", *THIRD, **UNREACHABLE)
    assert refused.returncode == 1
    advice = refused.stdout.rpartition(": ")[2].strip()
    assert advice.startswith("mkdir apps/shop/views && git mv "), refused.stdout
    for step in (f"git add apps/shop && {advice}", f"python manage.py startresource {' '.join(THIRD)}"):
        ran = run(copy, "sh", "-e", script=step, **UNREACHABLE)
        assert ran.returncode == 0, ran.stdout
    by_hand(copy)
    ran = run(copy, "python", "-c", CHECKS, seconds=400)
    assert ran.returncode == 0, ran.stdout[-8000:]
    folders = ("tests/apps/shop", "tests/apps/diary", "tests/apps/desk", "tests/apps/operations", "tests/tools", *OWN)
    for arguments in (
        # Which words Python keeps for itself is the same in both.
        (*folders, "tests/practices/test_error_map.py", *FIELDS, "-k", "not no_word_of_pythons_own"),
        (*WALKS, "-k", f"{' or '.join(WRITTEN)} or schema or every_operation"),
        ("tests/test_plans.py", "-k", "products or events or (api/v1/notes and not sample)"),
    ):
        ran = run(copy, "pytest", "-q", *arguments, seconds=300)
        assert ran.returncode == 0, ran.stdout[-8000:]
