"""``manage.py prove``: each practice's experiment fails when the practice is broken. It passes in test_first_hour."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.fleet import Fleet
from tools.prove.practices import WORDS
from tools.prove.runner import prove

ROOT = Path(__file__).resolve().parents[2]
SABOTAGE = Path(__file__).with_name("sabotage")

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def broken():
    """Return the outcomes on a stack in which each practice is broken in one place (see sabotage/)."""
    edge = Fleet._edge

    def one_upstream(fleet, environment):
        everybody, fleet.webs = fleet.webs, fleet.webs[:1]
        try:
            return edge(fleet, environment)
        finally:
            fleet.webs = everybody

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fleet, "_edge", one_upstream)  # scaling: the edge knows one instance only
        extra = {
            "PYTHONPATH": f"{SABOTAGE}:{ROOT}",  # environment: mistakes are ignored (sitecustomize.py)
            "GUNICORN_CMD_ARGS": "--graceful-timeout 1",  # shutdown: requests in flight get no time
            "SESSION_CHECK_SECONDS": "60",  # tokens: a revocation is noticed too late
        }
        outcomes = list(prove(words=WORDS, settings_module="tests.live.sabotage.broken_settings", extra=extra))
    return {outcome.word: outcome for outcome in outcomes}


SEEN = {
    "caching": "Cache-Status 'absent'; 200",
    "scaling": "[200, 200] from the two instances",
    "database": "with 200, Retry-After absent",
    "throttling": "140 passed, 0 refused",
    "headers": "headers missing",
    "validation": "400 at [], 400 at []",
    "https": "behind a misconfigured edge 200",
    "observability": "id absent in 0 web and 0 worker lines",
    "errors": "0 of 8 problem documents",
    "jobs": "seen running: True; then lost",
    "jobs, sent again": "with other content 202",
    "environment": "1 of 5 named in one report, traceback: True",
    "shutdown": "the request answered 0;",
    "tokens": "afterwards [401, 200]",
}


def test_every_practice_is_broken():
    assert {part.partition(",")[0] for part in SEEN} == set(WORDS)


@pytest.mark.parametrize("part", SEEN)
def test_broken_practice_is_not_proved(broken, part):
    outcome = broken[part.partition(",")[0]]
    assert outcome.status == "failed"
    assert SEEN[part] in outcome.saw


def test_unknown_practice_is_refused():
    ran = subprocess.run(
        [sys.executable, "manage.py", "prove", "--practice", "nothing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 2
    assert "caching" in ran.stderr
