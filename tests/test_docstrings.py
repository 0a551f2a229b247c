"""Docstrings of functions have one grammar: the imperative, and a verb that says what the function does.

ruff's pydocstyle rules (pyproject.toml) hold the form and the mood; they take any word that could be a verb.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.test_docs import ROOT

FOLDERS = ("apps", "project", "settings", "tests", "tools")
# Verbs that hide another one ("Give" returns or yields), and words that open a phrase in place of a sentence.
REFUSED = frozenset(
    {"Give", "Have", "How", "Let", "Say", "Tell", "What", "When", "Where", "Whether", "Who", "Whose", "Why"}
)


def opening_words() -> Iterator[tuple[str, str]]:
    """Yield the place and the first word of each function's docstring."""
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", re.findall(r"\w+", text)[0]


def test_docstrings_open_with_a_verb_that_says_something() -> None:
    assert [f"{place}: {word}" for place, word in opening_words() if word in REFUSED] == []
