"""bin/test runs every file of tests: once for what starts the service, once for the rest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tests import run
from tests.durations import ROOT, length, spread

FILES = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}
SERVICE = {file for file in FILES if Path(file).parts[1] in ("live", "faults", "browser")}


def asked(runs: dict[str, list[str]]) -> dict[str, set[str]]:
    """Return each run's files, none of which another one has."""
    files = {name: {word for word in arguments if word.endswith(".py")} for name, arguments in runs.items()}
    together = Counter(file for found in files.values() for file in found)
    assert [file for file, times in together.items() if times > 1] == []
    assert all(files.values()), "a run without a file runs all"
    return files


def test_every_file_is_in_a_run() -> None:
    quick, live = asked(run.quick_runs()), asked(run.busy_runs() | run.waiting_runs())
    assert set.union(*quick.values()) == FILES - SERVICE
    assert set.union(*live.values()) == FILES
    assert all(arguments[:2] == ["-m", "not live"] for arguments in run.quick_runs().values())
    assert all(arguments[:2] == ["-m", "live"] for arguments in run.waiting_runs().values())


def test_fast_leaves_out_what_it_names(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    files = FILES - SERVICE
    slow = min(files)
    monkeypatch.setattr("tests.durations.RECORDED", {"quick": {slow: 2 * run.SLOW_SECONDS}})
    assert set.union(*asked(run.quick_runs(fast=True)).values()) == files - {slow}
    assert Path(slow).stem in capsys.readouterr().out
    assert set.union(*asked(run.quick_runs()).values()) == files


def test_shares_are_of_about_the_same_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.durations.RECORDED", {"quick": {"a": 9, "b": 5, "c": 4, "d": 1}})
    shares = spread(["new", "d", "c", "b", "a"], kind="quick", shares=2)
    assert [sorted(share) for share in shares] == [["a", "d"], ["b", "c", "new"]]
    assert length(shares[0], kind="quick") == 10


def test_each_run_runs_once_and_no_lane_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four runs at a time: with two that compute and six that wait, all lanes have work twice."""
    at_once, ran = Barrier(2 * run.LANES, timeout=10), Counter[str]()

    def run_pytest(arguments: list[str], *, name: str, **_: Any) -> Counter[str]:
        at_once.wait()
        ran[name] += 1
        return Counter(passed=len(arguments))

    monkeypatch.setattr(run, "run_pytest", run_pytest)
    names = [str(number) for number in range(8)]
    runs = {name: [name, name] for name in names}
    counts = run.run_side_by_side({name: runs[name] for name in names[:2]}, {name: runs[name] for name in names[2:]})
    assert counts == {"passed": 16}
    assert ran == dict.fromkeys(names, 1)


def test_progress_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["....s [ 20%]\n", "..... [ 39%]\n", "F.... [ 61%]\n", "..... [100%]\n", "assert 0 [ 70%]\n"]
    assert list(run.followed(lines, name="quick")) == lines
    assert capsys.readouterr().out == "        20 %  quick\n        61 %  quick\n"
