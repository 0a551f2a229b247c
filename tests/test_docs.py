"""The documents agree with the code."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from tools.fleet import procfile_line
from tools.prove.practices import PRACTICES, WORDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
ROW = re.compile(
    r"^\| (\d+) \| \[(\w+)\]\(([^)]+)\) \| (.+?) \| `(.+?)` \| `(.+?)` \| `(.+?)` \| `(.+?)` \|$", re.MULTILINE
)
# A team's own page need not have the table, nor the tour.
ours = pytest.mark.skipif(not README.startswith("# Shipshape\n"), reason="README.md is the team's own")
ROWS = {row[1]: row for row in ROW.findall(README)}
MARKDOWN = sorted(path for path in ROOT.rglob("*.md") if not {".venv", "var", "node_modules"} & set(path.parts))
SOURCES = sorted(
    path
    for folder in ("apps", "project", "settings", "tools")
    for path in (ROOT / folder).rglob("*.py")
    if "migrations" not in path.parts
)


@ours
def test_readme_table_has_thirteen_rows_in_order():
    assert tuple(ROWS) == WORDS
    assert [int(row[0]) for row in ROWS.values()] == list(PRACTICES.values())


@ours
def test_welcome_page_lists_the_rows_of_the_readme():
    page = (ROOT / "templates/welcome.html").read_text()
    shown = re.findall(r'<li value="(\d+)">\s*<h3>(\w+)</h3>.*?In Node: (.+?)\. Here: ', page, re.DOTALL)
    assert shown == [(row[0], row[1], row[3]) for row in ROWS.values()]


@ours
@pytest.mark.parametrize("word", WORDS)
def test_readme_row_names_existing_files(word):
    page, settings, code, test, command = ROWS[word][2], *ROWS[word][4:]
    for path in (page, settings, code, test):
        assert (ROOT / path).exists(), path
    assert page == f"docs/{word}.md"
    assert test == f"tests/practices/test_{word}.py"
    assert (ROOT / "tools/prove/experiments" / f"{word}.py").exists()
    assert command == f"./manage.py prove --practice {word}"
    number = ROWS[word][0]
    assert f"({number})" in (ROOT / page).read_text().splitlines()[0]


@pytest.mark.parametrize("word", WORDS)
def test_practice_page_has_all_sections(word):
    page = (ROOT / f"docs/{word}.md").read_text()
    parts = ("**Promise.**", "## How it works here", "## Set it", "## See it", "## When a dependency is unavailable")
    assert sorted(parts, key=page.find) == list(parts)
    assert [part for part in parts if part not in page] == []
    assert f"./manage.py prove --practice {word}" in page


def test_index_lists_every_page_and_decision():
    docs = ROOT / "docs"
    index = (docs / "README.md").read_text()
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")} - {"README.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()
    for path in (docs / "decisions").glob("*.md"):
        number, _, title = path.read_text().splitlines()[0].removeprefix("# ").partition(": ")
        assert f"- [{number}](decisions/{path.name}) {title}\n" in index


def anchors(path):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_code(path):
    return re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target, anchor in re.findall(r"\]\((?!https?://|mailto:)([^)#\s]*)#?([^)\s]*)\)", without_code(path)):
        file = path.parent / target if target else path
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


@ours
def test_files_and_names_in_the_readme_exist():
    files = re.findall(r"`((?:apps|project|settings|tests|tools)/[\w/.]+)`", README)
    assert len(files) > 30
    assert [file for file in files if not (ROOT / file).exists()] == []
    names = re.findall(r"`(\w+)` in `(\w+/[\w/.]+)`", README)
    assert len(names) > 5
    assert [name for name, file in names if not re.search(rf"\b{name}\b", (ROOT / file).read_text())] == []


def test_documented_commands_exist():
    named = {name for path in MARKDOWN for name in re.findall(r"manage\.py ([a-z_]+)", path.read_text())}
    assert named - set(get_commands()) == set()


def test_decisions_are_short_and_complete():
    for path in (ROOT / "docs/decisions").glob("*.md"):
        text = path.read_text()
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name), path.name
        assert len(text.split()) < 600, path.name
        for heading in ("**Context.**", "**Decision.**", "**What we gave up.**"):
            assert heading in text, (path.name, heading)


def test_deploy_page_has_the_procfiles_worker():
    assert f"\n{procfile_line('worker')}\n" in (ROOT / "docs/deploy.md").read_text()


def test_files_are_short():
    assert [str(path.relative_to(ROOT)) for path in SOURCES if len(path.read_text().splitlines()) > 320] == []


def test_scripts_end_with_exec():
    for script in ("web", "dev", "test"):
        last = (ROOT / "bin" / script).read_text().rstrip().splitlines()[-1]
        assert last.startswith("exec "), script
