"""throttling: who was refused by which policy, as processes count it, Redis keeps it and the operations page reads it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as current
from django.test import Client

from apps.practices.mechanisms import metrics_flusher, metrics_store
from apps.practices.mechanisms.metrics_refusals import (
    MOST_NAMES,
    refusal_keep,
    refusals,
    refusals_add,
    refusals_key,
    refusals_read,
    refusals_sent,
)
from apps.practices.mechanisms.metrics_store import RESOLUTIONS, FleetUnavailable
from apps.practices.observability.history import history, local
from tests.practices import test_throttling
from tools.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_800_000_000 + 30.0  # 30 seconds after a quarter of an hour began
WIDE, ONE = (1_000_000, 900), (1, 900)


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    """Neither Redis nor this process has metrics or refusals to send."""
    metrics_flusher.shutdown()
    _clear()
    yield
    metrics_flusher.shutdown()
    _clear()


def _clear() -> None:
    refusals_sent(refusals())
    for key in metrics_store.client().scan_iter(f"{current.OBSERVABILITY_METRICS_PREFIX}:*"):
        metrics_store.client().delete(key)


def test_a_process_keeps_few_names_however_many_addresses_there_are() -> None:
    for number in range(100_000):
        refusal_keep("anon", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        refusal_keep("user", "a-user")
    found = refusals()
    assert {policy: len(names) for policy, names in found.items()} == {"anon": MOST_NAMES, "user": 1}
    assert found["user"] == {"a-user": 100_000}


def test_what_is_added_while_refusals_are_sent_is_sent_later() -> None:
    refusal_keep("anon", "192.0.2.1")
    refusal_keep("user", "a-user")
    sent = refusals()
    refusal_keep("anon", "192.0.2.1")
    refusals_sent(sent)
    assert refusals() == {"anon": {"192.0.2.1": 1}}


def test_a_bucket_adds_up_processes_and_drops_the_smallest() -> None:
    refusals_add({"anon": {f"192.0.2.{number}": 10 + number for number in range(MOST_NAMES)}}, at=NOW)
    others = {f"198.51.100.{number}": 1 for number in range(MOST_NAMES - 2)}
    refusals_add({"anon": {"192.0.2.0": 500, "203.0.113.9": 70, **others}, "user": {"a-user": 4}}, at=NOW + 1)
    for resolution in RESOLUTIONS:
        found = refusals_read(resolution, [NOW])
        kept = {f"192.0.2.{number}": 10 + number for number in range(2, MOST_NAMES)}
        assert found == {"anon": {"192.0.2.0": 510, "203.0.113.9": 70, **kept}, "user": {"a-user": 4}}


@pytest.mark.parametrize(("minutes", "step"), [(60, 60), (360, 300), (1440, 900)])
def test_a_range_adds_up_its_buckets_and_has_the_ten_refused_most(minutes: int, step: int) -> None:
    refusals_add({"anon": {f"192.0.2.{number}": 100 + number for number in range(20)}}, at=NOW - step)
    refusals_add({"anon": {"192.0.2.1": 100, "192.0.2.2": 3}}, at=NOW)
    refusals_add({"anon": {"192.0.2.2": 9_000}}, at=NOW - minutes * 60)
    expected = [("192.0.2.1", 201), *((f"192.0.2.{number}", 100 + number) for number in range(19, 10, -1))]
    assert list(history(minutes, now=NOW).refused["anon"].items()) == expected


def test_names_are_deleted_after_the_time_of_their_bucket_however_often_they_are_added() -> None:
    keys = [refusals_key(resolution, at=NOW) for resolution in RESOLUTIONS]
    refusals_add({"anon": {"192.0.2.1": 1}}, at=NOW)
    left = [metrics_store.client().ttl(key) for key in keys]
    assert all(kept.kept - 60 < ttl <= kept.kept for kept, ttl in zip(RESOLUTIONS, left, strict=True))
    assert max(left) <= 25 * 3600
    for key in keys:
        metrics_store.client().expire(key, 100)
    refusals_add({"anon": {"192.0.2.1": 1}}, at=NOW)
    assert all(metrics_store.client().ttl(key) <= 100 for key in keys)


def test_without_redis_a_process_has_its_own_refusals_and_sends_them_once_later(stack: Stack) -> None:
    refusal_keep("anon", "192.0.2.1")
    stack.servers["redis"].kill()
    try:
        metrics_flusher.start()
        with pytest.raises(FleetUnavailable):
            history(60)
        refusal_keep("anon", "192.0.2.1")
        assert local().refused == {"anon": {"192.0.2.1": 2}}
    finally:
        stack.restart("redis")
    assert history(60).refused == {"anon": {"192.0.2.1": 2}}
    assert history(60).refused == {"anon": {"192.0.2.1": 2}}, "sent once"
    assert local().refused == {}


def test_a_forked_child_has_none_of_its_parents_refusals() -> None:
    script = (
        "import os\n"
        "from apps.practices.mechanisms.metrics_refusals import refusal_keep, refusals\n"
        "refusal_keep('anon', '192.0.2.1')\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    os._exit(len(refusals()))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), len(refusals()))\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True, timeout=60
    ).stdout
    assert printed.split() == [b"0", b"1"], "names in the child, and in its parent"


class TestRequests:
    """What is kept of a refused request."""

    @pytest.fixture(autouse=True)
    def routes(self, settings: Any) -> None:
        settings.ROOT_URLCONF = test_throttling.__name__
        settings.TRUSTED_PROXIES = 0

    def refused(self, settings: Any, policy: str, path: str, *, post: bool = False, **extra: Any) -> dict[str, Any]:
        """Return who was refused of three requests, of which one is allowed."""
        limits = dict.fromkeys(("address", "anon", "user", "login"), WIDE)
        settings.THROTTLING_POLICIES = {**limits, policy: ONE}
        client = Client(raise_request_exception=False)
        send = client.post if post else client.get
        assert [send(path, **extra).status_code for _ in range(3)] == [200, 429, 429]
        found = history(60)
        assert found.total("shipshape_throttled_total", policy=policy) == 2
        return found.refused

    @pytest.mark.parametrize(
        ("form", "address", "name"),
        [
            ("full", "192.0.2.77", "192.0.2.77"),
            ("full", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
            ("truncated", "192.0.2.77", "192.0.2.0"),
            ("truncated", "2001:db8:1:2:3::4", "2001:db8:1::"),
        ],
    )
    def test_addresses_have_the_form_of_those_in_logs(self, settings: Any, form: str, address: str, name: str) -> None:
        settings.OBSERVABILITY_ADDRESSES = form
        assert self.refused(settings, "anon", "/api/v1/open", REMOTE_ADDR=address) == {"anon": {name: 2}}

    def test_no_address_is_kept_where_logs_have_none(self, settings: Any) -> None:
        settings.OBSERVABILITY_ADDRESSES = "none"
        assert self.refused(settings, "address", "/api/v1/open", REMOTE_ADDR="192.0.2.77") == {}

    @pytest.mark.parametrize("form", ["full", "none"])
    def test_users_are_named_by_id(self, settings: Any, form: str) -> None:
        settings.OBSERVABILITY_ADDRESSES = form
        found = self.refused(settings, "user", "/api/v1/open", HTTP_AUTHORIZATION="Name ann", REMOTE_ADDR="192.0.2.77")
        assert found == {"user": {"ann": 2}}

    def test_forms_are_counted_too(self, settings: Any) -> None:
        settings.OBSERVABILITY_ADDRESSES = "full"
        found = self.refused(settings, "login", "/form", post=True, REMOTE_ADDR="192.0.2.77")
        assert found == {"login": {"192.0.2.77": 2}}
