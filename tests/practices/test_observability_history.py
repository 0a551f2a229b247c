"""observability: the metrics of the last hours, as the operations page shows them."""

import math
import random
import time
from collections.abc import Iterator

import pytest
from django.conf import settings

from apps.practices.mechanisms import metrics, metrics_flusher, metrics_process, metrics_store
from apps.practices.mechanisms.metrics import REQUESTS
from apps.practices.mechanisms.metrics_numbers import Slow, field_of
from apps.practices.observability.history import RANGES, history, local
from apps.practices.observability.quantiles import quantiles
from tools.stack import Stack

NOW = 1_800_000_000 + 30.0  # 30 seconds after a quarter of an hour began
BOUNDS = metrics.bounds_of(REQUESTS)


@pytest.fixture
def empty() -> Iterator[None]:
    """Redis has no metrics."""
    metrics_flusher.shutdown()
    _clear()
    yield
    metrics_flusher.shutdown()
    _clear()


def _clear() -> None:
    for key in metrics_store.client().scan_iter(f"{settings.OBSERVABILITY_METRICS_PREFIX}:*"):
        metrics_store.client().delete(key)


def _bucket(bound: str, *, route: str = "/a", method: str = "GET", status: str = "200") -> bytes:
    labels = {"http_route": route, "http_request_method": method, "http_response_status_code": status, "le": bound}
    return field_of(f"{REQUESTS}_bucket", labels)


def _sum(*, route: str = "/a", method: str = "GET", status: str = "200") -> bytes:
    labels = {"http_route": route, "http_request_method": method, "http_response_status_code": status}
    return field_of(f"{REQUESTS}_sum", labels)


@pytest.mark.parametrize(("minutes", "step", "number"), [(60, 60, 60), (360, 300, 72), (1440, 900, 96)])
def test_ranges_have_all_their_steps(empty: None, minutes: int, step: int, number: int) -> None:
    field = field_of("shipshape_things_total", {"kind": "a"})
    for at, amount in ((NOW - step, 1), (NOW, 2), (NOW + 1, 3), (NOW - step * number, 100)):
        metrics_store.add({field: amount}, {}, at=at)
    found = history(minutes, now=NOW + 1)
    assert (found.step, len(found.times), found.times[-1]) == (step, number, 1_800_000_000)
    assert found.times[0] == 1_800_000_000 - step * (number - 1)
    assert found.seconds == [float(step)] * (number - 1) + [31.0], "the last step is not over"
    assert found.points("shipshape_things_total", kind="a") == [0.0] * (number - 2) + [1.0, 5.0]
    assert found.total("shipshape_things_total", kind="b") == 0
    assert found.points("shipshape_nothing_total") == [0.0] * number


def test_unknown_ranges_are_refused() -> None:
    with pytest.raises(KeyError):
        history(61)


def test_requests_are_summed_by_route_and_class(empty: None) -> None:
    metrics_store.add({_bucket("0.01"): 60, _bucket("0.025"): 39, _bucket("0.25"): 1, _sum(): 1.5}, {}, at=NOW - 60)
    metrics_store.add({_bucket("0.5", status="503"): 2, _sum(status="503"): 0.8}, {}, at=NOW)
    metrics_store.add({_bucket("0.001", route="/b", method="POST", status="404"): 4}, {}, at=NOW)
    found = history(60, now=NOW)
    assert {kind: sum(row) for kind, row in found.requests_by_class().items()} == {"2xx": 100, "4xx": 4, "5xx": 2}
    assert found.counts(REQUESTS)[-2:] == [100, 6]
    first, second = found.routes()
    assert (first.route, first.method, first.requests, first.errors) == ("/a", "GET", 102, 2)
    assert (second.route, second.method, second.by_class) == ("/b", "POST", {"4xx": 4})
    assert first.mean == pytest.approx(2.3 / 102)
    assert (first.p50, first.p95) == (
        pytest.approx(0.008 + 0.002 * 51 / 60),
        pytest.approx(0.02 + 0.005 * (96.9 - 60) / 39),
    )
    assert found.histogram(REQUESTS, http_route="/a").quantile_points((0.5,))[0][-3:] == [
        None,
        pytest.approx(0.008 + 0.002 * 50 / 60),
        pytest.approx(0.45),
    ]
    assert found.histogram(REQUESTS, http_route="/c").quantiles() == [None, None, None]


def test_quantiles_are_prometheus_own() -> None:
    """The values are those of histogram_quantile() in its documentation's terms: linear, and capped at the last bound."""
    assert quantiles([0.5], {"0.1": 10.0}, ["0.05", "0.1", "0.5"]) == pytest.approx([0.075]), (
        "empty buckets have bounds, too"
    )
    assert quantiles([0.5], {"0.05": 10.0}, ["0.05", "0.1"]) == pytest.approx([0.025]), "the first bucket begins at 0"
    assert quantiles([0.99], {"0.05": 1.0, "+Inf": 9.0}, ["0.05", "0.1"]) == [0.1]
    assert quantiles([0.5, 0.9], {}, ["0.05"]) == [None, None]


@pytest.mark.parametrize("name", [REQUESTS, "db_client_operation_duration_seconds", "shipshape_jobs_run_seconds"])
@pytest.mark.parametrize(("median", "sigma"), [(0.002, 0.3), (0.04, 0.3), (0.045, 0.7), (0.3, 1.0), (4.0, 0.5)])
def test_quantiles_are_within_a_tenth_of_the_exact_ones(empty: None, name: str, median: float, sigma: float) -> None:
    found = metrics._durations[name]
    values = ("a",) * len(found.labels)
    chance = random.Random(1)
    seconds = sorted(chance.lognormvariate(math.log(median), sigma) for _ in range(20_000))
    for one in seconds:
        found.observe_values(one, values)
    told = history(60).histogram(name, **dict(zip(found.labels, values, strict=True))).quantiles()
    for q, shown in zip((0.5, 0.95, 0.99), told, strict=True):
        exact = seconds[math.ceil(q * len(seconds)) - 1]
        if float(found.lines[0]) <= exact <= float(found.lines[-1]):
            assert shown == pytest.approx(exact, rel=0.1), (q, exact)


def test_slowest_requests_are_kept_by_route(empty: None) -> None:
    def slow(milliseconds: float, request_id: str) -> Slow:
        return Slow(milliseconds / 1000, "GET", 200, request_id, NOW)

    field = _bucket("0.5")
    for route, milliseconds, request_id in (
        ("/a", 90.5, "1"),
        ("/a", 1200.0, "2"),
        ("/a", 300.0, "3"),
        ("/b", 5.25, "4"),
    ):
        metrics_store.add({field: 1}, {route: slow(milliseconds, request_id)}, at=NOW)
    metrics_store.add({field: 1}, {"/a": slow(700, "5")}, at=NOW - 60)
    for minutes, expected in ((60, ["2", "5", "4"]), (1440, ["2", "5", "4"])):
        assert [one.request_id for _, one in history(minutes, now=NOW).slowest()] == expected
    assert history(60, now=NOW).slow["/a"][0] == Slow(1.2, "GET", 200, "2", int(NOW))


def test_slowest_request_of_a_second_is_sent(empty: None) -> None:
    for milliseconds, request_id in ((5, "first"), (50, "slowest"), (10, "last")):
        metrics.request_observe(
            route="/slow", method="GET", status=200, seconds=milliseconds / 1000, request_id=request_id
        )
    [slow] = history(60).slow["/slow"]
    assert (slow.request_id, slow.seconds, slow.status) == ("slowest", 0.05, 200)
    metrics.request_observe(route="/slow", method="GET", status=200, seconds=0.001, request_id="later")
    assert history(60).slow["/slow"][0].request_id == "slowest"


def test_number_of_fields_is_bounded(empty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_store, "MOST_FIELDS", 10)
    fields = {field_of("shipshape_things_total", {"kind": str(number)}): 1.0 for number in range(15)}
    assert metrics_store.add(fields, {}, at=NOW) == 5
    assert metrics_store.add(fields, {}, at=NOW) == 5, "those that have a name are counted further"
    assert history(60, now=NOW).total("shipshape_things_total") == 20
    assert len(metrics_store.fleet_totals()) == 10


def test_names_that_redis_lost_are_sent_again(empty: None) -> None:
    field = field_of("shipshape_things_total", {})
    metrics_store.add({field: 1}, {}, at=NOW)
    metrics_store.client().delete(metrics_store.names_key())
    assert history(60, now=NOW).total("shipshape_things_total") == 0
    metrics_store.add({field: 1}, {}, at=NOW)
    assert history(60, now=NOW).total("shipshape_things_total") == 2


def test_processes_and_releases(empty: None, settings: "object") -> None:
    heart = metrics_process.Heart()
    process = heart.beat()
    now = process.seen

    def started(number: int, release: str, *, ago: float, role: str = "web") -> None:
        one = metrics_process.Process(str(number), role, "host", number, release, now - ago, now - ago, {})
        metrics_store.process_started(one)
        metrics_store.process_write(one)

    started(1, "v1", ago=90_000)
    started(2, "v1", ago=5_000)
    started(3, "v2", ago=600)
    started(4, "tool", ago=500, role="command")
    started(5, "v2", ago=15)
    metrics_store.process_write(process)
    found = history(60, now=now)
    assert [one.pid for one in found.processes] == [process.pid, 5], "others have not been heard of for 20 seconds"
    assert found.processes[0] == process
    assert process.gauges["process_resident_memory_bytes"] > 1e6
    assert process.gauges["process_open_fds"] > 2
    assert [(one.name, one.at) for one in found.releases] == [("v1", now - 90_000), ("v2", now - 600)]
    assert set(metrics_store.client().hkeys(f"{settings.OBSERVABILITY_METRICS_PREFIX}:processes")) == {  # type: ignore[attr-defined]
        b"3", b"4", b"5", process.id.encode(),
    }, "rows of an hour ago are deleted"  # fmt: skip


def test_flusher_writes_the_row_and_deletes_it(empty: None) -> None:
    metrics.count("history_things")
    deadline = time.monotonic() + 10
    while not (found := history(60).processes) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [(one.role, one.pid) for one in found] == [("command", metrics_process.Heart().beat().pid)]
    assert history(60).total("shipshape_process_cpu_seconds_total", role="command") > 0
    metrics_flusher.shutdown()
    assert history(60).processes == []


def test_local_history_needs_no_redis(empty: None, stack: Stack) -> None:
    metrics.request_observe(route="/local", method="GET", status=200, seconds=0.02, request_id="an-id")
    stack.servers["redis"].kill()
    try:
        with pytest.raises(metrics_store.FleetUnavailable):
            history(60)
        found = local()
    finally:
        stack.restart("redis")
    assert not found.is_fleet
    [route] = [route for route in found.routes() if route.route == "/local"]
    assert (route.requests, route.slowest and route.slowest.request_id) == (1, "an-id")
    assert len(found.processes) == len(found.times) == 1


def test_a_day_of_fifty_routes_is_read_quickly(empty: None) -> None:
    """As a service of 50 routes leaves it: 96 buckets of 1,300 numbers each."""
    chance = random.Random(1)
    fields = {}
    for route in range(50):
        path = f"/api/v1/things/{route}/<uuid:id>"
        for method, status in (("GET", "200"), ("GET", "404")):
            for bound in BOUNDS[:12]:
                fields[_bucket(bound, route=path, method=method, status=status)] = 1.0
            fields[_sum(route=path, method=method, status=status)] = 0.25
    step, number = RANGES[1440]
    slow = {
        f"/api/v1/things/{route}/<uuid:id>": Slow(chance.random(), "GET", 200, "0" * 36, NOW) for route in range(50)
    }
    for back in range(number):
        metrics_store.add(fields, slow, at=NOW - back * step.seconds)
    used = []
    for _ in range(3):
        began = time.process_time()
        found = history(1440, now=NOW)
        routes = found.routes()
        found.histogram(REQUESTS).quantile_points()
        used.append(time.process_time() - began)
    assert len(routes) == 50
    assert sum(route.requests for route in routes) == 50 * 2 * 12 * number
    assert min(used) < 1.0, "0.06 s on a quiet machine"
    keys = metrics_store.client().scan_iter(f"{settings.OBSERVABILITY_METRICS_PREFIX}:*")
    taken = sum(metrics_store.client().memory_usage(key, samples=0) or 0 for key in keys)
    assert taken < 30e6, "bytes in Redis, of as many buckets as there are at most"
