"""The commands of the README's tour print what the README shows, on a development service with demo data."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet import DEVELOPMENT, fleet_running

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.live
ADDRESS = "http://localhost:8000"


def tour() -> list[tuple[str, str]]:
    """Return the commands in the README's console blocks, each with the output below it."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    steps: list[tuple[str, str]] = []
    for line in "".join(blocks).splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], ""))
        else:
            command, output = steps[-1]
            steps[-1] = (command, f"{output}{line}\n")
    return steps


def pattern_of(written: str) -> str:
    """Return a regular expression for an output in which … replaces parts that differ each time."""
    return r"[^\n]*?".join(map(re.escape, written.strip().split("…")))


@pytest.mark.timeout(120)
def test_tour_prints_what_the_readme_shows(stack):
    development = {**DEVELOPMENT, "PUBLIC_URL": ADDRESS}
    with fleet_running(stack, worker=True, edge=False, instances=1, **development) as fleet:
        demo = [sys.executable, "manage.py", "demo"]
        subprocess.run(demo, cwd=ROOT, env=fleet.webs[0].environment, check=True, timeout=60, capture_output=True)
        url = fleet.webs[0].url.replace("127.0.0.1", "localhost")
        script, marker = [], "-- end of step --"
        for command, _ in tour():
            script += [command.replace(ADDRESS, url), f"echo; echo '{marker}'"]
        ran = subprocess.run(
            ["bash"], input="\n".join(script), capture_output=True, text=True, timeout=100, check=False
        )
    printed = [part.strip() for part in ran.stdout.replace(url, ADDRESS).split(marker)][:-1]
    assert len(printed) == len(tour())
    for (command, written), output in zip(tour(), printed, strict=True):
        assert re.fullmatch(pattern_of(written), output), f"$ {command}\n{output}\n\nwritten:\n{written}"
