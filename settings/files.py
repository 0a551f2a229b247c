"""Env files: read one, and report every line that is not an assignment or is likely not what it seems.

python-dotenv's parser reads them, so that they mean the same as to other tools: spaces around ``=``, ``export``, quotes,
comments and values of several lines. An error names the file and the line, but not its text, which may be secret.
"""

import io
import re
from collections.abc import Collection
from pathlib import Path

from dotenv.parser import Binding, parse_stream

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # POSIX.1-2024, 3.216
_EXPANSION = re.compile(r"\$\{[A-Za-z_]")
_SWALLOWED = re.compile(r"^\s*(export\s+)?[A-Z][A-Z0-9_]*\s*=", re.MULTILINE)


class UnreadableFile(ValueError):
    """The whole file cannot be read, so that nothing is known of its names."""


def read_file(path: Path, *, source: str, names: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Return the assignments and the errors of one env file; a missing file has neither. Raise ``UnreadableFile``.

    ``source`` is the file's name in errors. Only the values of ``names`` are checked: other programs read the rest.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}, []
    except OSError:
        raise UnreadableFile(
            f"{source} cannot be read: check that it is a file, and that this user may read it"
        ) from None
    text = _text(content, source)
    values: dict[str, str] = {}
    errors = []
    for binding in parse_stream(io.StringIO(text, newline="")):
        if problem := _problem(binding, names):
            errors.append(f"{source}, line {_line(binding)}: {problem}")
        elif binding.key is not None:
            values[binding.key] = binding.value or ""
    return values, errors


def _text(content: bytes, source: str) -> str:
    """Return the text without its byte order mark. Raise ``UnreadableFile`` if it is not UTF-8."""
    if b"\0" in content or content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnreadableFile(
            f"{source} is UTF-16 or binary: save it as UTF-8 (in Windows PowerShell 5, add -Encoding utf8)"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableFile(f"{source}, line {line}: the text is not UTF-8: save the file as UTF-8") from None


def _line(binding: Binding) -> int:
    """Return the line number of a statement. The parser includes the empty lines before it."""
    statement = binding.original.string
    blank = statement[: len(statement) - len(statement.lstrip())]
    return binding.original.line + len(re.findall(r"\r\n|\n|\r", blank))


def _problem(binding: Binding, names: Collection[str]) -> str:
    """Return what is wrong with a statement and how to correct it, empty if nothing is."""
    if binding.error:
        return "write NAME=value; end a quoted value with the same quote, and put only a # comment behind it"
    if binding.key is None:
        return ""
    if binding.value is None or not _NAME.fullmatch(binding.key):
        return "write NAME=value; put a value of several lines in quotes"
    if binding.key not in names:
        return ""
    if "\n" in binding.value and _SWALLOWED.search(binding.value.partition("\n")[2]):
        return f"the quote before the value of {binding.key} is not closed: close it, or remove it"
    is_literal = binding.original.string.partition("=")[2].lstrip().startswith("'")
    if _EXPANSION.search(binding.value) and not is_literal:
        return (
            f"{binding.key} contains ${{...}}, which is not expanded: write the value itself, or put it in single quotes "
            "to keep it as it is"
        )
    return ""
