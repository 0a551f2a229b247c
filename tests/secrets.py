"""What the suite's accounts and drafts have that no log may show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.apps.accounts.factories import NEW_PASSWORD, PASSWORD

MARKER = "words-of-a-draft-7f3a"
# Hashes as Django stores them, and tokens as JWTs are written.
_SECRETS = re.compile(
    "|".join([r"argon2\w*\$argon2", r"eyJ[\w-]{10,}\.eyJ", *map(re.escape, (PASSWORD, NEW_PASSWORD, MARKER))])
)


def secrets_logged(log: Path) -> Iterator[str]:
    """Return the lines of a log that hold a secret, cut to what tells where they come from."""
    if not log.exists():
        return
    with log.open(errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if _SECRETS.search(line):
                yield f"{log.name}:{number}: {line[:160].rstrip()}"
