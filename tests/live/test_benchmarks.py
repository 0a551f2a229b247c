"""``python -m tools.benchmarks.http``: its counters are those of the servers, and its figures those of the requests."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tools.benchmarks.http.profiling import layer_of
from tools.benchmarks.http.report import chart
from tools.fleet import ROOT

WORKS = ("health", "list-cached", "me", "page-deep", "users-deep")
FIGURES = {"requests_per_second", "p50_ms", "p99_ms", "cpu_us", "memory_mib", "queries", "statements", "redis_trips"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return what a small run has written."""
    folder: Path = tmp_path_factory.mktemp("benchmark")
    command = [
        sys.executable,
        "-m",
        "tools.benchmarks.http",
        "--folder",
        folder / "data",
        "--json",
        folder / "run.json",
    ]
    command += ["--users", "100", "--rows", "100", "--seconds", "0.2", "--processes", "1", "--profile", "me", "--costs"]
    for name in WORKS:
        command += ["--only", name]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads((folder / "run.json").read_text()) | {"printed": ran.stdout}


def test_every_work_has_its_figures(run):
    works = {work["name"]: work for work in run["works"]}
    public = run["data"]["public_list"]
    assert list(works) == [name for name in WORKS if public or name not in ("list-cached", "page-deep")]
    for name, work in works.items():
        assert set(work) >= FIGURES, name
        assert work["requests"] == sum(work["statuses"].values()) > 0, name
        assert 0 < work["p50_ms"] <= work["p99_ms"], name
        assert set(work["statuses"]) == {"200"}, name
        assert work["memory_mib"]["web"] > 10, name
        assert 0.5 < work["memory_mib"]["web"] / work["memory_before_mib"]["web"] < 2, name
        assert f"| {name} |" in run["printed"]
    assert sum(work["cpu_us"]["web"] for work in works.values()) > 0
    assert run["data"]["users"] == 100
    assert set(run["machine"]["servers"]) >= {"postgresql"}


def test_statements_and_round_trips_are_counted(run):
    works = {work["name"]: work for work in run["works"]}
    assert (works["health"]["statements"], works["health"]["redis_trips"]) == (0, 0)
    assert round(works["me"]["queries"]) == 1  # on a busy machine a session is checked again in between
    assert works["users-deep"]["queries"] >= 1
    assert any('FROM "accounts_user"' in text for text in works["users-deep"]["sql"])
    if run["data"]["public_list"]:
        assert works["list-cached"]["queries"] == 0
        assert works["list-cached"]["redis_trips"] >= 1
        assert works["page-deep"]["queries"] >= 1


def test_profile_splits_the_time_of_a_request(run):
    [profile] = run["profiles"]
    assert profile["request_us"] > 0
    assert sum(profile["layers_us"].values()) == pytest.approx(profile["request_us"])
    assert profile["calls_by_layer"]["ORM"] > 1
    assert profile["postgresql_trips"] in (1, 2)
    assert profile["redis_trips"] == 1


def test_costs_of_features_are_counted(run):
    for cost in run["costs"].values():
        whole = cost.pop("the whole request")["calls"]
        assert 0 < sum(feature["calls"] for feature in cost.values()) < whole
    features = run["costs"]["user-by-key"]
    assert {"limits", "session check", "headers", "log line", "metrics", "CSP", "CORS"} <= set(features)
    # A read with a token goes around the middlewares (project/handler.py).
    passed = {"headers", "CSP", "CORS", "ETag"}
    assert {name for name in features if features[name]["calls"] <= 0} == passed
    assert "| log line |" in run["printed"]


def test_layer_of_a_file():
    assert layer_of(f"{ROOT}/apps/practices/throttling/limiter.py") == "limits"
    assert layer_of("/x/site-packages/django/db/models/query.py") == "ORM"
    assert layer_of("/usr/lib/python3.11/json/encoder.py") is None


def test_chart_lays_parts_end_to_end():
    drawn = ElementTree.fromstring(chart("Title", [("a & b", {"one": 1, "two": 3}), ("c", {"one": 2, "two": 0})]))
    bars = [one for one in drawn.iter("{http://www.w3.org/2000/svg}rect") if one.get("height") == "20"]
    first, second, third, fourth = (float(bar.get("width")) for bar in bars)
    assert second == pytest.approx(3 * first, abs=0.2)
    assert third == pytest.approx(2 * first, abs=0.2)
    assert fourth == 0
    assert float(bars[1].get("x")) == pytest.approx(float(bars[0].get("x")) + first, abs=0.2)
    assert "a & b" in "".join(drawn.itertext())
