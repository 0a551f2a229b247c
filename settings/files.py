"""Env files: what one says, and every line in it that does not say what it seems to.

python-dotenv's parser reads them, so that they mean what they mean to other tools: blanks around ``=``, ``export``, quotes,
comments and values of several lines. A mistake names the file and the line; it never repeats the line, which may be secret.
"""

import io
import re
from collections.abc import Collection
from pathlib import Path

from dotenv.parser import Binding, parse_stream

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # POSIX.1-2024, 3.216
_EXPANSION = re.compile(r"\$\{[A-Za-z_]")
_SWALLOWED = re.compile(r"^\s*(export\s+)?[A-Z][A-Z0-9_]*\s*=", re.MULTILINE)


def read_file(path: Path, *, source: str, names: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Return the assignments of one env file and the mistakes in it; an absent file has neither.

    ``source`` is what mistakes call the file. Values are looked at for ``names`` alone: the rest belongs to other programs.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}, []
    except OSError:
        return {}, [f"{source} cannot be read: make it a file that this user may read"]
    text, mistake = _text(content)
    if mistake:
        return {}, [f"{source}{mistake}"]
    values: dict[str, str] = {}
    mistakes = []
    for binding in parse_stream(io.StringIO(text, newline="")):
        if problem := _problem(binding, names):
            mistakes.append(f"{source}, line {_line(binding)}: {problem}")
        elif binding.key is not None:
            values[binding.key] = binding.value or ""
    return values, mistakes


def _text(content: bytes) -> tuple[str, str]:
    """Return the text without its byte order mark, and what is wrong with it, as the end of a sentence."""
    if b"\0" in content or content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return (
            "",
            " is UTF-16 or binary: save it as UTF-8 (Windows PowerShell 5 writes UTF-16 unless you add -Encoding utf8)",
        )
    try:
        return content.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return "", f", line {line}: a character is not UTF-8: save the file as UTF-8"


def _line(binding: Binding) -> int:
    """Return the number of the line a statement begins on; the parser counts the empty lines before it too."""
    statement = binding.original.string
    blank = statement[: len(statement) - len(statement.lstrip())]
    return binding.original.line + len(re.findall(r"\r\n|\n|\r", blank))


def _problem(binding: Binding, names: Collection[str]) -> str:
    """Return what is wrong with a statement, or nothing."""
    if binding.error:
        return "write NAME=value; a value in quotes ends with the same quote, and only a # comment may follow it"
    if binding.key is None:
        return ""
    if binding.value is None or not _NAME.fullmatch(binding.key):
        return "write NAME=value; put a value of several lines in quotes"
    if binding.key not in names:
        return ""
    if "\n" in binding.value and _SWALLOWED.search(binding.value.partition("\n")[2]):
        return f"the quote that opens the value of {binding.key} is not closed before the next name"
    is_literal = binding.original.string.partition("=")[2].lstrip().startswith("'")
    if _EXPANSION.search(binding.value) and not is_literal:
        return (
            f"${{...}} in {binding.key} is not replaced by another variable: write the value itself, "
            "or put it in single quotes if it is meant as it is written"
        )
    return ""
