"""The environment: the one place that reads it.

Layers, the later winning: defaults, ``var/stack.json`` (dev), ``.env``, ``.env.local``, ``.env.<name>``, ``.env.<name>.local``,
the process environment. ``X_FILE`` names a file that holds X (a mounted secret). An empty value means the default. Tests read
``.env.test`` and ``.env.test.local`` alone, so that a developer's own values cannot change their outcome.

Imports no Django and never fails by itself: mistakes are collected, ``require_valid`` reports all of them at once.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from settings.files import read_file
from settings.names import near
from settings.rules import broken_rules
from settings.variable import Variable
from settings.variables import ENVIRONMENTS, VARIABLES

ROOT = Path(__file__).resolve().parent.parent
PROCESS = "the process environment"

# manage.py commands that start servers of their own or none: in dev they may run without bin/dev, on addresses where
# nobody answers.
_WITHOUT_SERVERS = frozenset({"check", "env", "help", "makemigrations", "prove", "startresource"})
SERVERS_MISSING = "The development servers do not run: start them with bin/dev, or set DATABASE_URL and REDIS_URL."
_READ = frozenset(f"{variable.name}{end}" for variable in VARIABLES for end in ("", "_FILE"))
_NOBODY = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", "REDIS_URL": "redis://127.0.0.1:9/0"}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One source of values: where it came from and what it says."""

    source: str
    values: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One variable in force: its value, the text that was parsed, its source, and the file where X_FILE named one."""

    variable: Variable
    value: Any
    source: str
    text: str | None = None
    path: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What is in force, where it came from, and every mistake in it.

    ``ignored`` lists names in files that nothing reads, ``typos`` those, here or in the process environment, that are
    probably misspelt: a warning each, never a mistake, since they may be another program's.
    """

    name: str
    entries: dict[str, Entry]
    mistakes: list[str]
    ignored: list[str]
    typos: list[str]

    def __getitem__(self, name: str) -> Any:
        """The parsed value of ``name``, None when it has none. An undeclared name is a KeyError."""
        return self.entries[name].value

    def require_valid(self) -> None:
        """Print one report of every mistake to standard error and exit 1, unless there is none."""
        if self.mistakes:
            self._refuse()

    def _refuse(self) -> NoReturn:
        if self.mistakes == [SERVERS_MISSING]:
            sys.stderr.write(f"{SERVERS_MISSING}\n")
            raise SystemExit(1)
        count = len(self.mistakes)
        heading = f"The {self.name} environment has {count} mistake{'s' if count > 1 else ''}:"
        lines = [heading, *(f"  - {mistake}" for mistake in self.mistakes), *(f"  ? {slip}" for slip in self.typos)]
        lines.append(
            "Each name, with why it is there, is in .env.example. Unset DJANGO_ENV means prod; bin/setup writes a .env for dev."
        )
        sys.stderr.write("\n".join(lines) + "\n")
        raise SystemExit(1)


def select_settings() -> None:
    """Name the settings module for this process, as DJANGO_SETTINGS_MODULE, unless somebody has named it already."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", f"settings.{ENVIRONMENT.name}")


def read_environment(*, process: Mapping[str, str], root: Path = ROOT, arguments: Sequence[str] = ()) -> Environment:
    """Read all layers under ``root`` and cast every declared variable. ``arguments`` is the command line."""
    mistakes: list[str] = []
    files = _Files(root)
    name = _environment_name(process=process, files=files, mistakes=mistakes)
    layers = _layers(name=name, process=process, files=files, root=root)
    mistakes += files.mistakes
    if name == "dev" and (_WITHOUT_SERVERS.intersection(arguments[1:2]) or "--help" in arguments[2:]):
        layers.insert(0, Layer(source="nobody", values=_NOBODY))
    entries: dict[str, Entry] = {}
    for variable in VARIABLES:
        known = {key: entry.value for key, entry in entries.items()}
        entries[variable.name] = _entry(variable, name=name, layers=layers, known=known, mistakes=mistakes)
    entries["DJANGO_ENV"] = Entry(
        variable=entries["DJANGO_ENV"].variable, value=name, source=entries["DJANGO_ENV"].source, text=name
    )
    values = {key: entry.value for key, entry in entries.items()}
    mistakes += broken_rules(name=name, values=values, process=process)
    return Environment(
        name=name,
        entries=entries,
        mistakes=list(dict.fromkeys(mistakes)),
        ignored=_ignored(layers),
        typos=_typos(layers, entries),
    )


class _Files:
    """The env files, each read once: one may be a pipe."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[str, dict[str, str]] = {}
        self.mistakes: list[str] = []

    def __getitem__(self, file: str) -> dict[str, str]:
        if file not in self._read:
            self._read[file], mistakes = read_file(self._root / file, source=file, names=_READ)
            self.mistakes += mistakes
        return self._read[file]


def _environment_name(*, process: Mapping[str, str], files: _Files, mistakes: list[str]) -> str:
    """Which environment: the settings module named in the process, else DJANGO_ENV there, else in a file, else prod."""
    package, _, last = process.get("DJANGO_SETTINGS_MODULE", "").rpartition(".")
    by_module = last if package == "settings" and last in ENVIRONMENTS else ""
    by_process = process.get("DJANGO_ENV", "").strip()
    if by_module and by_process and by_module != by_process:
        mistakes.append(
            f"DJANGO_ENV says {by_process} and DJANGO_SETTINGS_MODULE says settings.{by_module}: unset one of them"
        )
    name = by_module or by_process
    for file in () if name else (".env.local", ".env"):
        name = name or files[file].get("DJANGO_ENV", "").strip()
    name = name or "prod"
    if name not in ENVIRONMENTS:
        mistakes.append(f"DJANGO_ENV: write one of {', '.join(ENVIRONMENTS)}")
        return "prod"
    return name


def _layers(*, name: str, process: Mapping[str, str], files: _Files, root: Path) -> list[Layer]:
    """Return all sources that exist, weakest first."""
    named = [".env", ".env.local", f".env.{name}", f".env.{name}.local"]
    return [
        *([Layer(source="var/stack.json", values=_stack_urls(root))] if name == "dev" else []),
        *(Layer(source=file, values=files[file]) for file in (named[2:] if name == "test" else named)),
        Layer(source=PROCESS, values=process),
    ]


def _stack_urls(root: Path) -> dict[str, str]:
    """The addresses of the development servers, when bin/dev runs them."""
    path = root / "var" / "stack.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        os.kill(int(state["pid"]), 0)
        return {str(name): str(url) for name, url in state["urls"].items()}
    except PermissionError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _ignored(layers: list[Layer]) -> list[str]:
    """Return the names in files that nothing reads. One that may be a piece of a secret, spilt over a line, is not shown."""
    return [
        f"{name if name.isupper() else 'a name that is not in capitals'} in {layer.source}"
        for layer in layers
        if layer.source != PROCESS
        for name in sorted(set(layer.values) - _READ)
    ]


def _typos(layers: list[Layer], entries: Mapping[str, Entry]) -> list[str]:
    """Return a sentence for each name that nothing reads and that is a slip away from one that nobody has set."""
    unset = {name for name, entry in entries.items() if entry.source in ("default", "unset")}
    open_names = sorted(name for name in _READ if name.removesuffix("_FILE") in unset)
    return [
        f"{name} in {layer.source} is not a name that is read: did you mean {meant}?"
        for layer in layers
        for name in sorted(set(layer.values) - _READ)
        if (meant := near(name, open_names))
    ]


def _entry(
    variable: Variable, *, name: str, layers: list[Layer], known: Mapping[str, Any], mistakes: list[str]
) -> Entry:
    text, source, path = _text(variable, layers=layers, mistakes=mistakes)
    if text is None:
        if source is None and name in variable.required_in:
            mistake = f"{variable.name} is missing: {variable.why}"
            mistakes.append(SERVERS_MISSING if name == "dev" and variable.name in _NOBODY else mistake)
        default = variable.default_for(name)
        text, source = default and default.format_map(known), "default"
    if text is None:
        return Entry(variable=variable, value=None, source="unset")
    try:
        return Entry(variable=variable, value=variable.kind(text), source=source or "default", text=text, path=path)
    except ValueError as error:
        mistakes.append(f"{variable.name} ({source}): {error}")
        return Entry(variable=variable, value=None, source=source or "default")


def _text(
    variable: Variable, *, layers: list[Layer], mistakes: list[str]
) -> tuple[str | None, str | None, Path | None]:
    """The strongest layer's text, its source and the file it is from; no text and a source when that cannot be read."""
    for layer in reversed(layers):
        direct = layer.values.get(variable.name, "")
        path = layer.values.get(f"{variable.name}_FILE", "")
        if direct and path:
            mistakes.append(f"{variable.name} and {variable.name}_FILE are both set in {layer.source}: keep one")
        if direct:
            return direct, layer.source, None
        if not path and variable.name in layer.values:
            return None, None, None
        if path:
            try:
                text = Path(path).read_text(encoding="utf-8-sig").rstrip("\r\n")
                return text, f"{variable.name}_FILE in {layer.source}", Path(path)
            except (OSError, UnicodeDecodeError):
                mistakes.append(f"{variable.name}_FILE in {layer.source} names a file that cannot be read as text")
                return None, layer.source, None
    return None, None, None


ENVIRONMENT = read_environment(process=os.environ, arguments=sys.argv)
