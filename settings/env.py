"""The environment: the only module that reads it.

Later layers win: defaults, ``var/stack.json`` (dev), ``.env``, ``.env.local``, ``.env.<name>``, ``.env.<name>.local``, the
process environment. ``X_FILE`` names a file that contains the value of X, such as a mounted secret. An empty value means the
default. Tests read only ``.env.test`` and ``.env.test.local``, so that a developer's own values do not change their outcome.

This module imports no Django. Reading never raises: errors are collected, and ``require_valid`` reports all of them.
"""

import json
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from settings.files import UnreadableFile, read_file
from settings.rules import broken_rules
from settings.variable import Variable
from settings.variables import ENVIRONMENTS, VARIABLES

ROOT = Path(__file__).resolve().parent.parent
PROCESS = "the process environment"

_SIMILARITY = 0.9  # difflib's ratio: one wrong letter among ten, or two letters swapped
_READ = frozenset(f"{variable.name}{end}" for variable in VARIABLES for end in ("", "_FILE"))


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One source of values."""

    source: str
    values: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A variable's value in force, the text it was parsed from, and its source."""

    variable: Variable
    value: Any
    source: str
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The values in force, and all errors in them.

    ``ignored`` are the names in env files that have no effect. ``typos`` are sentences about those, in files or in the process
    environment, that are probably misspelt. They are warnings, since other programs may read these names.
    """

    name: str
    entries: dict[str, Entry]
    errors: list[str]
    ignored: list[str]
    typos: list[str]

    def __getitem__(self, name: str) -> Any:
        """Return the parsed value of ``name``, None if it has none. Raise ``KeyError`` for an undeclared name."""
        return self.entries[name].value

    def require_valid(self) -> None:
        """Print all errors to standard error and exit with status 1, if there are any."""
        if not self.errors:
            return
        count = len(self.errors)
        heading = f"Cannot start: the {self.name} environment has {count} error{'s' if count > 1 else ''}."
        lines = [heading, *(f"  - {error}" for error in self.errors), *(f"  ? {typo}" for typo in self.typos)]
        lines.append(
            ".env.example explains each setting. If DJANGO_ENV is not set, the environment is prod. For development, run "
            "bin/setup: it writes a .env."
        )
        sys.stderr.write("\n".join(lines) + "\n")
        raise SystemExit(1)


def select_settings() -> None:
    """Set DJANGO_SETTINGS_MODULE to the environment's settings, unless it is set already."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", f"settings.{ENVIRONMENT.name}")


def read_environment(*, process: Mapping[str, str], root: Path = ROOT) -> Environment:
    """Read all layers under ``root`` and parse every declared variable."""
    errors: list[str] = []
    files = _Files(root)
    name = _environment_name(process=process, files=files, errors=errors)
    layers = _layers(name=name, process=process, files=files, root=root)
    errors += files.errors
    entries: dict[str, Entry] = {}
    for variable in VARIABLES:
        known = {key: entry.value for key, entry in entries.items()}
        entries[variable.name] = _entry(variable, name=name, layers=layers, known=known, errors=errors)
    entries["DJANGO_ENV"] = Entry(
        variable=entries["DJANGO_ENV"].variable, value=name, source=entries["DJANGO_ENV"].source, text=name
    )
    values = {key: entry.value for key, entry in entries.items()}
    errors += broken_rules(name=name, values=values, process=process)
    return Environment(
        name=name,
        entries=entries,
        # A file that cannot be read may hold what seems to be missing, and the name of the environment.
        errors=files.unreadable or list(dict.fromkeys(errors)),
        ignored=_ignored(layers),
        typos=_typos(layers, entries),
    )


class _Files:
    """The env files. Each is read once, since it may be a pipe."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[str, dict[str, str]] = {}
        self.errors: list[str] = []
        self.unreadable: list[str] = []

    def __getitem__(self, file: str) -> dict[str, str]:
        if file not in self._read:
            try:
                self._read[file], errors = read_file(self._root / file, source=file, names=_READ)
                self.errors += errors
            except UnreadableFile as error:
                self._read[file] = {}
                self.unreadable.append(str(error))
        return self._read[file]


def _environment_name(*, process: Mapping[str, str], files: _Files, errors: list[str]) -> str:
    """Return the name from the process's DJANGO_SETTINGS_MODULE, else from DJANGO_ENV there, else in a file, else prod."""
    package, _, last = process.get("DJANGO_SETTINGS_MODULE", "").rpartition(".")
    by_module = last if package == "settings" and last in ENVIRONMENTS else ""
    by_process = process.get("DJANGO_ENV", "").strip()
    if by_module and by_process and by_module != by_process:
        errors.append(
            f"DJANGO_ENV is {by_process}, but DJANGO_SETTINGS_MODULE is settings.{by_module}: unset one of them"
        )
    name = by_module or by_process
    for file in () if name else (".env.local", ".env"):
        name = name or files[file].get("DJANGO_ENV", "").strip()
    name = name or "prod"
    if name not in ENVIRONMENTS:
        errors.append(f"DJANGO_ENV is unknown: set it to one of {', '.join(ENVIRONMENTS)}")
        return "prod"
    return name


def _layers(*, name: str, process: Mapping[str, str], files: _Files, root: Path) -> list[Layer]:
    """Return all sources, weakest first."""
    named = [".env", ".env.local", f".env.{name}", f".env.{name}.local"]
    return [
        *([Layer(source="var/stack.json", values=_stack_urls(root))] if name == "dev" else []),
        *(Layer(source=file, values=files[file]) for file in (named[2:] if name == "test" else named)),
        Layer(source=PROCESS, values=process),
    ]


def _stack_urls(root: Path) -> dict[str, str]:
    """Return the URLs of the development servers if bin/dev is running."""
    path = root / "var" / "stack.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        os.kill(int(state["pid"]), 0)
        return {str(name): str(url) for name, url in state["urls"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _ignored(layers: list[Layer]) -> list[str]:
    """Return the names in files that have no effect. Hide those that may be part of a secret broken over two lines."""
    return [
        f"{name if name.isupper() else 'a name that is not upper-case'} in {layer.source}"
        for layer in layers
        if layer.source != PROCESS
        for name in sorted(set(layer.values) - _READ)
    ]


def _typos(layers: list[Layer], entries: Mapping[str, Entry]) -> list[str]:
    """Return a sentence for each unknown name that resembles a name without a value."""
    unset = {name for name, entry in entries.items() if entry.source in ("default", "unset")}
    open_names = sorted(name for name in _READ if name.removesuffix("_FILE") in unset)
    return [
        f"{name} in {layer.source} has no effect. Did you mean {meant}?"
        for layer in layers
        for name in sorted(set(layer.values) - _READ)
        if (meant := near(name, open_names))
    ]


def near(name: str, known: Collection[str]) -> str | None:
    """Return the known name that ``name`` is probably a misspelling of, or None.

    A name with another word or a number at its end (``DATABASE_URL_X``, ``REDIS_URL2``) is not a misspelling.
    """
    if any(letter.isdigit() for letter in name):
        return None
    upper = name.upper()
    candidates = [
        one
        for one in known
        if abs(len(one) - len(upper)) <= 2 and not upper.startswith(f"{one}_") and not one.startswith(f"{upper}_")
    ]
    return next(iter(get_close_matches(upper, candidates, n=1, cutoff=_SIMILARITY)), None)


def _entry(variable: Variable, *, name: str, layers: list[Layer], known: Mapping[str, Any], errors: list[str]) -> Entry:
    text, source = _text(variable, layers=layers, errors=errors)
    if text is None:
        if source is None and name in variable.required_in:
            errors.append(f"{variable.name} is missing: set it. {variable.why}")
        default = variable.default_for(name)
        text, source = default and default.format_map(known), "default"
    if text is None:
        return Entry(variable=variable, value=None, source="unset")
    try:
        return Entry(variable=variable, value=variable.kind(text), source=source or "default", text=text)
    except ValueError as error:
        errors.append(f"{variable.name} in {source} is invalid: {error}")
        return Entry(variable=variable, value=None, source=source or "default")


def _text(variable: Variable, *, layers: list[Layer], errors: list[str]) -> tuple[str | None, str | None]:
    """Return the strongest layer's text and its source; no text, but a source, if a file cannot be read."""
    for layer in reversed(layers):
        direct = layer.values.get(variable.name, "")
        path = layer.values.get(f"{variable.name}_FILE", "")
        if direct and path:
            errors.append(
                f"{variable.name} and {variable.name}_FILE are both set in {layer.source}: remove one of them"
            )
        if direct:
            return direct, layer.source
        if not path and variable.name in layer.values:
            return None, None
        if path:
            try:
                text = Path(path).read_text(encoding="utf-8-sig").rstrip("\r\n")
                return text, f"{variable.name}_FILE in {layer.source}"
            except (OSError, UnicodeDecodeError):
                errors.append(
                    f"{variable.name}_FILE in {layer.source} names a file that cannot be read: check the path, and that "
                    "this user may read it as UTF-8 text"
                )
                return None, layer.source
    return None, None


ENVIRONMENT = read_environment(process=os.environ)
