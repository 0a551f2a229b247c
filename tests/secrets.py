"""The secrets of the suite's accounts, drafts and processes, and a search for them in every server's log."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from apps.practices.observability import logs
from settings.variables import VARIABLES

PASSWORD, NEW_PASSWORD = "tide tables and lanterns", "harbour lights and fog horns"  # of accounts in this process
FLEET_PASSWORD, FLEET_NEW_PASSWORD = "lanterns over low water", "a harbour after the storm"  # of accounts on a fleet
MARKER = "words-of-a-draft-7f3a"
SHORTEST = 12  # characters of a secret in an environment; a shorter one could be a word of any line
SHOWN = 160  # characters of a line that tell where it comes from
# Hashes as Django stores them, and tokens as JWTs are written.
_KNOWN = (
    rb"argon2\w*\$argon2",
    rb"eyJ[\w-]{10,}\.eyJ",
    *(re.escape(text.encode()) for text in (PASSWORD, NEW_PASSWORD, FLEET_PASSWORD, FLEET_NEW_PASSWORD, MARKER)),
)
_noted: set[str] = set()


def secret_note(text: str) -> str:
    """Return a secret that a test has met, such as the token of a mailed link, and have the logs searched for it."""
    _noted.add(text)
    return text


@dataclass
class _Log:
    path: Path
    file: BinaryIO
    secrets: set[str] = field(default_factory=set)

    def lines(self) -> Iterator[str]:
        """Return its lines that hold a secret, each with file and number."""
        wanted = re.compile(b"|".join((*_KNOWN, *(re.escape(text.encode()) for text in sorted(self.secrets | _noted)))))
        self.file.seek(0)
        for number, line in enumerate(self.file, start=1):
            if wanted.search(line):
                yield f"{self.path}:{number}: {line[:SHOWN].decode(errors='replace').rstrip()}"


class ServerLogs:
    """The file that each process of this session writes its output to.

    Files are kept open, since most lie in folders that are gone when the session ends.
    """

    def __init__(self) -> None:
        self._logs: dict[tuple[int, int], _Log] = {}
        self._start = subprocess.Popen.__init__
        self._write = logs.Stderr.write

    def watch(self) -> None:
        """Note, until `close`, each process that is started with a file as its output, and the secrets it is given."""

        @functools.wraps(self._start)
        def noting(process: Any, *arguments: Any, **options: Any) -> None:
            self._start(process, *arguments, **options)
            self._note(options.get("stdout"), options.get("env") or os.environ)

        subprocess.Popen.__init__ = noting  # type: ignore[method-assign]  # whoever starts it: a fleet, a stack, a test

    def watch_own(self) -> None:
        """Note, until `close`, the lines that this process itself logs. Call it before Django's setup."""
        own = tempfile.TemporaryFile()  # noqa: SIM115 - see close()
        state = os.fstat(own.fileno())
        path = Path("the log of this process")
        self._logs[state.st_dev, state.st_ino] = _Log(path=path, file=own, secrets=_secrets_of(os.environ))
        output, write, lock = own.fileno(), self._write, threading.Lock()

        def noting(stderr: logs.Stderr, line: bytes) -> None:
            write(stderr, line)
            with lock:  # at the end, wherever others read
                os.pwrite(output, line, os.fstat(output).st_size)

        logs.Stderr.write = noting  # type: ignore[method-assign]  # until close()

    def lines(self) -> list[str]:
        """Return the lines of all logs that hold a secret, each with its file and number."""
        return [line for log in self._logs.values() for line in log.lines()]

    def close(self) -> None:
        """Stop watching, and let go of the files."""
        subprocess.Popen.__init__ = self._start  # type: ignore[method-assign]  # as it was
        logs.Stderr.write = self._write  # type: ignore[method-assign]  # as it was
        for log in self._logs.values():
            log.file.close()

    def _note(self, output: Any, environment: Mapping[str, str]) -> None:
        name = getattr(output, "name", None)
        if not isinstance(name, (str, Path)) or not Path(name).is_file():
            return  # a pipe, or nothing
        state = os.stat(name)
        log = self._logs.get((state.st_dev, state.st_ino))
        if log is None:
            log = self._logs[state.st_dev, state.st_ino] = _Log(path=Path(name), file=open(name, "rb"))  # noqa: SIM115 - see close()
        log.secrets |= _secrets_of(environment)


def _secrets_of(environment: Mapping[str, str]) -> set[str]:
    """Return the secrets among a process's variables: whole values, passwords of URLs, keys of a list."""
    found: set[str] = set()
    for variable in VARIABLES:
        text = environment.get(variable.name, "")
        if not variable.secret or not text:
            continue
        if "://" in text:
            found.add(unquote(urlsplit(text).password or ""))
        elif text.startswith("["):
            with suppress(ValueError, TypeError, KeyError):
                found.update(one["key"] for one in json.loads(text))
        else:
            found.add(text)
    return {text for text in found if len(text) >= SHORTEST}
