"""What each file of tests took, by which `bin/test` spreads them over its runs.

`python -m tests.durations` records it from the JUnit reports of the last `bin/test`: of an app's tests in a file next to them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
NAME = "durations.json"
SHORTEST = 1.0  # seconds; shorter files are spread by their number
UNKNOWN = 0.1
# By kind, `quick` (no service is started) or `live`, and file: seconds.
Seconds = dict[str, dict[str, float]]


def recorded() -> Seconds:
    """Return what is recorded."""
    seconds: Seconds = {"quick": {}, "live": {}}
    for path in sorted((ROOT / "tests").rglob(NAME)):
        for kind, files in json.loads(path.read_text()).items():
            seconds[kind] |= {str((path.parent / file).relative_to(ROOT)): taken for file, taken in files.items()}
    return seconds


RECORDED = recorded()


def length(files: Iterable[str], *, kind: str) -> float:
    """Return how many seconds the tests of these files took."""
    return sum(RECORDED[kind].get(file, UNKNOWN) for file in files)


def spread(files: Iterable[str], *, kind: str, shares: int) -> list[list[str]]:
    """Return so many shares of about the same length: the longest files first, each to the shortest share."""
    spread: list[list[str]] = [[] for _ in range(shares)]
    for file in sorted(files, key=lambda file: (-length([file], kind=kind), file)):
        min(spread, key=lambda share: length(share, kind=kind)).append(file)
    return spread


def main() -> None:
    """Record what the reports in var/tests say."""
    taken: defaultdict[Path, defaultdict[str, defaultdict[str, float]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(float))
    )
    for report in sorted((ROOT / "var" / "tests").glob("*.xml")):
        kind = "quick" if report.name.startswith("quick") else "live"
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            module = [part for part in case.get("classname", "").split(".") if not part.startswith("Test")]
            folder = Path(*module[:3]) if module[1] == "apps" else Path("tests")
            file = Path(*module).with_suffix(".py").relative_to(folder)
            taken[folder][kind][str(file)] += float(case.get("time", 0))
    for folder, kinds in taken.items():
        kept = {
            kind: {file: round(seconds, 1) for file, seconds in sorted(files.items()) if seconds >= SHORTEST}
            for kind, files in sorted(kinds.items())
        }
        (ROOT / folder / NAME).write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
