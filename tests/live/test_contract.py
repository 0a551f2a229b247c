"""Schemathesis against the real service: allowed and forbidden requests get the documented responses."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.access import rows
from tests.fleet import ask, fleet_running
from tools.fleet import Fleet

ROOT = Path(__file__).resolve().parents[2]
PLANTED = "GET /api/v1/planted"
UNLIMITED = dict.fromkeys(("THROTTLE_ANON", "THROTTLE_USER", "THROTTLE_ADDRESS", "THROTTLE_LOGIN"), "10000000/15m")
# An instance is asked as the edge would ask it.
EDGE = {"Host": "localhost", "X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1"}
SEED = "20261123"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run said: its output, the operations with failures, and answers by operation id and status."""

    output: str
    failing: set[str]
    answers: dict[str, dict[str, int]]


def schemathesis(fleet: Fleet, folder: Path, *, role: str, seconds: int, phases: str, examples: int = 4) -> Run:
    """Run every check for about so many ``seconds`` as ``role``: "nobody", or a superuser of that name."""
    document, answers = folder / "openapi.json", folder / f"{role}.json"
    document.write_bytes(ask(fleet.url, "/api/schema").content)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "tests/contract/schemathesis.toml", "run"]
    command += [str(document), "--url", fleet.url, "--seed", SEED, "--max-time", str(seconds), "--phases", phases]
    command += ["--max-examples", str(examples), "--checks", "all", "--no-shrink"]
    command += [word for name, value in EDGE.items() for word in ("--header", f"{name}: {value}")]
    environment = {
        **fleet.webs[0].environment,
        "PROCESS_KIND": "command",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "SCHEMATHESIS_HOOKS": "tests.contract.hooks",
        "CONTRACT_ROLE": role,
        "CONTRACT_ANSWERS": str(answers),
    }
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds + 90, check=False
    )
    assert "Test cases:" in ran.stdout, ran.stdout[-4000:] + ran.stderr[-4000:]
    failing = set(re.findall(r"^_{3,} (.+?) _{3,}$", ran.stdout, flags=re.MULTILINE))
    return Run(output=ran.stdout, failing=failing, answers=json.loads(answers.read_text()))


@pytest.mark.timeout(1200)
def test_the_service_keeps_its_word(stack, soak, tmp_path):
    """With a token in all phases, then without one; the planted fault is found, and no other."""
    signed_in_seconds, nobody_seconds, examples = (600, 120, 80) if soak else (40, 20, 4)
    environment = {**UNLIMITED, "DJANGO_SETTINGS_MODULE": "tests.contract.settings"}
    with fleet_running(stack, worker=True, edge=False, instances=1, **environment) as fleet:
        everybody = "examples,coverage,fuzzing,stateful"
        signed_in = schemathesis(
            fleet, tmp_path, role="admin", seconds=signed_in_seconds, phases=everybody, examples=examples
        )
        nobody = schemathesis(fleet, tmp_path, role="nobody", seconds=nobody_seconds, phases="coverage,fuzzing")
    assert signed_in.failing == {PLANTED}, signed_in.output
    assert nobody.failing == {PLANTED}, nobody.output
    operations = {row.operation for row in rows() if row.operation}
    answers = signed_in.answers
    succeeded = {name for name in operations if any(status.startswith("2") for status in answers.get(name, ()))}
    assert len(succeeded) >= 0.9 * len(operations), operations - succeeded
    # A request can be refused before anybody is asked who they are, but none is carried out.
    protected = _protected(tmp_path / "openapi.json")
    assert {"me_read", "jobs_list"} <= protected <= set(nobody.answers)
    statuses = {name: set(nobody.answers[name]) for name in protected}
    assert {name for name, found in statuses.items() if "401" not in found or min(found) < "400"} == set()


def _protected(path: Path) -> set[str]:
    """Return the ids of the operations that the document in ``path`` wants a credential for."""
    paths = json.loads(path.read_text())["paths"]
    operations = [operation for item in paths.values() for operation in item.values() if "operationId" in operation]
    return {one["operationId"] for one in operations if one["security"] and {} not in one["security"]}
