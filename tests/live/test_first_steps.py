"""A team's first steps in a copy of the project, which then passes all checks and tests.

The example is removed, resources of several shapes are generated, one is added by hand as `docs/add-a-resource.md` says, and a
queue, a schedule and the README are changed.
"""

from __future__ import annotations

import importlib
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
# Every test file is imported; these are not run again. The walks over every route, model and field are. `--soak` runs all.
LEFT_OUT = (
    "tests/apps/accounts/",
    "tests/apps/jobs/",
    "tests/apps/operations/",
    "tests/practices/",
    "tests/settings/",
    "tests/tools/",  # the steps themselves have the generator write resources
    "tests/test_admin_lookups.py",
    "tests/test_inputs.py",
    "tests/test_plans.py",
)
WALKS = (
    *(f"tests/apps/jobs/test_{subject}.py" for subject in ("schedules", "worker_start", "idempotency")),
    "tests/practices/test_error_map.py",
    "tests/practices/test_sample.py",
)
PROPERTIES = "tests/practices/test_validation_properties.py"
# Of the files left out, by test: what is said of every field there is, the page with the new queue, the admin of a resource with
# each kind of field, and the plans of the new lists.
ALSO = (
    f"{PROPERTIES}::test_any_body_is_handled_and_stored_text_is_clean",
    f"{PROPERTIES}::test_any_query_is_handled",
    f"{PROPERTIES}::test_unclean_text_is_never_stored",
    "tests/practices/test_validation_fields.py::test_every_writable_field_is_bounded",
    "tests/apps/operations/test_dashboard.py::test_sections_of_a_day",
    "tests/apps/operations/test_dashboard.py::test_queues_are_paused_by_their_permission",
    "tests/test_admin_lookups.py::test_no_query_of_a_list_is_a_failure[diary.Note]",
    *(
        f"tests/test_plans.py::test_every_query_of_a_list_is_served_by_an_index[/api/v1/{name}]"
        for name in ("products", "events", "notes")
    ),
)
# No step changes the operations, models and admin of accounts, whose many password hashes take half of the walks' time.
ACCOUNTS = tuple(
    f"tests/{walk}[{prefix}"
    for walk, prefixes in {
        "test_access.py::test_everybody_gets_what_the_table_says": ("auth_", "me_", "users_"),
        "test_access_admin.py::test_actions_change_nothing_for_those_who_may_not": ("accounts.", "auth."),
        "test_access_admin.py::test_staff_open_what_they_hold_the_permission_for": ("accounts.", "auth."),
        "test_mass_assignment.py::test_a_member_that_is_not_declared_is_refused_by_name": ("auth_", "me_"),
        "test_mass_assignment.py::test_another_content_type_is_no_way_around": ("auth_", "me_"),
        "test_mass_assignment.py::test_nothing_is_smuggled_in_below_a_member": ("auth_", "me_"),
        "test_types.py::test_a_value_of_another_type_is_refused_by_name": ("auth_", "me_"),
    }.items()
    for prefix in prefixes
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


def chosen(copy: Path) -> list[str]:
    """Return pytest's arguments: the test files that are not left out, and the tests of the others that are run."""
    files = sorted(path.relative_to(copy).as_posix() for path in (copy / "tests").rglob("test_*.py"))
    chosen = [file for file in files if file in WALKS or not file.startswith(LEFT_OUT)]
    return [*chosen, *ALSO, *(f"--deselect={prefix}" for prefix in ACCOUNTS)]


@pytest.mark.timeout(900)
def test_project_passes_after_its_first_steps(tmp_path: Path, soak: bool) -> None:
    copy = project_copy(tmp_path / "project")
    if (ROOT / ".mypy_cache").exists():  # so that mypy checks again only what differs
        shutil.copytree(ROOT / ".mypy_cache", copy / ".mypy_cache")
    if (ROOT / "tests" / "live" / "example.py").exists():
        importlib.import_module("tests.live.example").remove_example(copy)
    ran = run(copy, "pytest", "-q", "tests", "-k", "test_docs.py")  # imports every test file
    assert ran.returncode == 0, ran.stdout[-8000:]

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
    ran = run(copy, "pytest", "-q", *(["tests"] if soak else ["-m", "not live", *chosen(copy)]), seconds=800)
    assert ran.returncode == 0, ran.stdout[-8000:]
