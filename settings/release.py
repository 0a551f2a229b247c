"""The name of the running build, where the environment gives none."""

from pathlib import Path

from settings.env import ROOT

DIGITS = 12  # of a commit's id


def commit(folder: Path = ROOT) -> str | None:
    """Return the beginning of the id of the commit that is checked out in ``folder``; None if it is no git checkout."""
    git = folder / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head[:DIGITS]
        name = head.removeprefix("ref: ")
        if (git / name).is_file():
            return (git / name).read_text()[:DIGITS]
        packed = (line.split() for line in (git / "packed-refs").read_text().splitlines())
        return next((words[0][:DIGITS] for words in packed if words[1:] == [name]), None)
    except OSError:
        return None
