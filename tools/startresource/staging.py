"""All or nothing: the files are generated, formatted, migrated and checked in a copy before they are put in place."""

import ast
import builtins
import difflib
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.startresource.merging import merged, merged_table, names_of
from tools.startresource.registration import CONTRACTS, README, SETTINGS, URLS, registered
from tools.startresource.rendering import rendered
from tools.startresource.specification import Refused, Resource, plural_of, snake

LINES = 320  # the longest that a module may get
STEP_SECONDS = 120
PLACEHOLDER_MODEL = "Somethingelse"  # a model whose name nothing else has
_LISTS = (SETTINGS, URLS, CONTRACTS, README)
_COPIED = ("apps", "project", "settings", "templates", "tests", "tools")
_LINKED = (".venv", "var", ".env", ".env.local")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One file: its path in the project, and its text before (None if it did not exist) and after."""

    path: str
    before: str | None
    after: str

    @property
    def lines(self) -> int:
        return len(self.after.splitlines())

    def difference(self) -> str:
        """Return the change of an existing file as a unified diff."""
        old, new = (self.before or "").splitlines(keepends=True), self.after.splitlines(keepends=True)
        return "".join(difflib.unified_diff(old, new, self.path, self.path, n=1))


def changes_for(resource: Resource, *, root: Path) -> list[Change]:
    """Return all changes for the resource, made, formatted, migrated and checked in a copy of the project.

    Raise ``Refused``. The project itself is not changed.
    """
    written = rendered(resource)
    _require_apart(written, resource)
    alone = _in_packages(written, resource, root=root)
    before = {path: (root / path).read_text() for path in (*_LISTS, *alone) if (root / path).exists()}
    if there := [path for path in alone if path in before and not resource.extends]:
        raise Refused(f"{there[0]} exists and is not overwritten. Move it away, or choose another name.")
    with _copy(root) as copy:
        _write(copy, alone)
        _tidy(copy, alone, "--config", "format.skip-magic-trailing-comma = true")
        texts = {path: _joined(path, before.get(path), (copy / path).read_text()) for path in alone}
        texts |= registered(resource, before)
        _write(copy, texts)
        _tidy(copy, [path for path in alone if path in before])
        # Runs all system checks first, including the one for an index of each order and filter.
        _step(copy, sys.executable, "manage.py", "makemigrations", resource.label, "--no-header", "-v", "0")
        folder = f"apps/{resource.label}/migrations"
        made = [
            f"{folder}/{file.name}" for file in (copy / folder).glob("*.py") if not (root / folder / file.name).exists()
        ]
        found = [
            Change(path=path, before=before.get(path), after=(copy / path).read_text())
            for path in sorted({*texts, *made})
            if before.get(path) != (copy / path).read_text()
        ]
    for change in found:
        if change.path.startswith("apps/") and change.lines > LINES and change.before is not None:
            package = change.path.removesuffix(".py")
            raise Refused(
                f"{change.path} would have {change.lines} lines; the maximum is {LINES}. Turn it into a package, in which the "
                f"resource gets its own module: mkdir {package} && git mv {change.path} {package}/__init__.py"
            )
    return found


def _require_apart(files: Mapping[str, str], resource: Resource) -> None:
    """Refuse a model whose names have another meaning in a generated module."""
    _require_builtins(resource)
    mine = {resource.model, resource.entity, resource.plural}
    for path, text in files.items():
        sources: dict[str, str] = {}  # duplicate imports are removed later
        for node in ast.parse(text).body if path.endswith(".py") else []:
            imported = node.names if isinstance(node, ast.Import | ast.ImportFrom) else []
            source = str(getattr(node, "module", "")) if imported else f"line {node.lineno}"
            for name in [*names_of(node), *(one.asname or one.name for one in imported)]:
                if sources.setdefault(name, source) != source:
                    raise _taken(resource, path, name)
    # Generated for a model of another name, no function may use names of both.
    other = replace(resource, model=PLACEHOLDER_MODEL, plural=plural_of(snake(PLACEHOLDER_MODEL)))
    theirs = {other.model, other.entity, other.plural}
    for path, text in zip(files, rendered(other).values(), strict=True):
        for names in _names_by_function(text) if path.endswith(".py") else ():
            if names & theirs and (both := names & mine):
                raise _taken(resource, path, min(both))


def _require_builtins(resource: Resource) -> None:
    """Refuse names that would shadow a builtin that the generated code uses."""
    plain = replace(
        resource,
        model=PLACEHOLDER_MODEL,
        plural=plural_of(snake(PLACEHOLDER_MODEL)),
        owner=resource.owner and f"{snake(PLACEHOLDER_MODEL)}_owner",
        fields=tuple(replace(spec, name=f"{snake(PLACEHOLDER_MODEL)}_{at}") for at, spec in enumerate(resource.fields)),
    )
    mine = {resource.model, resource.entity, resource.plural}
    given = {spec.name for spec in resource.fields} | ({resource.owner} if resource.owner else set())
    for path, text in rendered(plain).items():
        used = _names(text) & set(dir(builtins)) if path.endswith(".py") else set()
        for name in sorted(used & mine):
            raise _taken(resource, path, name)
        for name in sorted(used & given):
            raise Refused(
                f"{name}: {Path(path).name} uses Python's builtin {name}. Choose another name, such as {name}_value."
            )


# Both are kept: what is generated for the placeholder is the same for most models.
@cache
def _names(text: str) -> frozenset[str]:
    """Return the names that a module uses, and those of its parameters."""
    return _names_in(ast.parse(text))


@cache
def _names_by_function(text: str) -> tuple[frozenset[str], ...]:
    """Return the names that each function of a module uses, and those of its parameters."""
    return tuple(_names_in(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))


def _names_in(tree: ast.AST) -> frozenset[str]:
    nodes = list(ast.walk(tree))
    return frozenset(node.id for node in nodes if isinstance(node, ast.Name)) | {
        node.arg for node in nodes if isinstance(node, ast.arg)
    }


def _taken(resource: Resource, path: str, name: str) -> Refused:
    return Refused(
        f"{resource.model}: {path} uses the name {name} for something else. "
        f"Choose another name, such as {resource.label.title().replace('_', '')}{resource.model}."
    )


def _in_packages(texts: Mapping[str, str], resource: Resource, *, root: Path) -> dict[str, str]:
    """Return the texts, with those of modules that the app has turned into packages as new modules of these packages."""
    found: dict[str, str] = {}
    for path, text in texts.items():
        package = path.removesuffix(".py")
        if not (root / package / "__init__.py").exists():
            found[path] = text
            continue
        there = _defined((root / package / "__init__.py").read_text())
        names = [name for name in _defined(text) if name not in there and not name.startswith("_")]
        module = f"{package.replace('/', '.')}.{resource.plural}"
        found[f"{package}/{resource.plural}.py"] = text
        found[f"{package}/__init__.py"] = f"from {module} import {', '.join(names)}\n\n__all__ = {names!r}\n"
    return found


def _defined(text: str) -> list[str]:
    return [name for node in ast.parse(text).body for name in names_of(node)]


def _joined(path: str, old: str | None, new: str) -> str:
    """Return the text of a file with the additions for the resource."""
    if path.endswith(".txt"):
        return merged_table(old or "", new)
    if old is None:
        return new
    is_kept = path.endswith("/apps.py") or (path.endswith("/__init__.py") and "__all__" not in new)
    return old if is_kept else merged(old, new, name=path)


def _write(copy: Path, texts: dict[str, str]) -> None:
    for path, text in texts.items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(text)


def put(changes: list[Change], *, root: Path) -> None:
    """Write all changes; if one fails, undo those that were made. Raise ``Refused`` or ``OSError``."""
    for change in changes:
        file = root / change.path
        if (file.read_text() if file.exists() else None) != change.before:
            raise Refused(f"{change.path} was changed while this command ran. Nothing has been written. Try again.")
    done: list[Change] = []
    folders = [
        folder for folder in dict.fromkeys(p for c in changes for p in (root / c.path).parents) if not folder.exists()
    ]
    try:
        for change in changes:
            file = root / change.path
            file.parent.mkdir(parents=True, exist_ok=True)
            done.append(change)
            fresh = file.with_name(f".{file.name}.new")
            fresh.write_text(change.after)
            fresh.replace(file)
    except OSError:
        for change in done:
            file = root / change.path
            file.with_name(f".{file.name}.new").unlink(missing_ok=True)
            file.unlink(missing_ok=True) if change.before is None else file.write_text(change.before)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _copy(root: Path) -> Iterator[Path]:
    """Copy what Django and the tools need to a temporary folder."""
    with TemporaryDirectory(prefix="startresource-") as name:
        copy = Path(name)
        for folder in _COPIED:
            shutil.copytree(root / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("manage.py", CONTRACTS, *(path.name for path in root.glob(".env.*") if path.is_file())):
            shutil.copy(root / file, copy / file)
        for link in _LINKED:
            if (root / link).exists() and not (copy / link).exists():
                (copy / link).symlink_to(root / link)
        yield copy


def _tidy(copy: Path, files: Iterable[str], *options: str) -> None:
    """Sort and remove imports, then format the files, as bin/test requires."""
    paths = [path for path in files if path.endswith(".py")]
    if not paths:
        return
    ruff = Path(sys.executable).with_name("ruff")
    tool = str(ruff) if ruff.exists() else shutil.which("ruff") or ""
    if not tool:
        raise Refused("ruff, which formats the files, is not installed. Run bin/setup, then try again.")
    _step(copy, tool, "check", "--quiet", "--fix", "--exit-zero", "--select", "I,F401,RUF022,UP", "--no-cache", *paths)
    _step(copy, tool, "format", "--quiet", "--no-cache", *options, *paths)


def _step(copy: Path, *command: str) -> None:
    """Run a command in the copy; raise ``Refused`` with its output if it fails."""
    ran = subprocess.run(  # noqa: S603 - Python and ruff, with paths that are names checked before
        command,
        cwd=copy,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_SECONDS,
        check=False,
    )
    if ran.returncode:
        words = " ".join(Path(word).name for word in command[:3])
        raise Refused(
            f"{words} failed in a copy of the project, so nothing has been written:\n{ran.stdout.strip()[-3000:]}"
        )
