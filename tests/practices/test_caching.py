"""caching, data: remember() on a real Valkey that is also stopped, paused and flushed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings as current
from django.core.cache import cache
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import transaction
from redis.exceptions import ConnectionError
from structlog.testing import capture_logs

from apps.practices.caching import engine, remember, tags_change
from apps.practices.caching.entries import MAX_BYTES, Entry
from apps.practices.caching.local import OVERHEAD, LocalTier
from apps.practices.caching.tags import is_settled, tag_key
from apps.practices.mechanisms.breaker import FAILURES, FIRST_PAUSE, Breaker
from apps.practices.mechanisms.json import json_bytes
from apps.practices.mechanisms.redis import redis_client
from settings.urls import redis_url
from tests.practices.cache_servers import black_hole, private_redis
from tests.processes import wait_until
from tests.races import at_once


class Source:
    """Data that counts how often it is read."""

    def __init__(self, value: Any = 1) -> None:
        self.value = value
        self.reads = 0

    def __call__(self) -> Any:
        self.reads += 1
        return self.value

    def remembered(self, **options: Any) -> Any:
        return remember("thing", **{"tags": ("things",), "build": self, **options})


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.mark.django_db(transaction=True)
class TestRemember:
    def test_each_caller_gets_a_copy_of_one_build(self, source: Source) -> None:
        source.value = {"numbers": [1, 2]}
        first = source.remembered()
        first["numbers"].append(3)
        assert source.remembered() == {"numbers": [1, 2]}
        assert source.reads == 1

    def test_redis_serves_what_the_process_has_dropped(self, source: Source) -> None:
        source.remembered()
        engine.local.clear()
        assert source.remembered() == 1
        assert source.reads == 1

    def test_expired_entry_is_a_miss(self, source: Source) -> None:
        source.remembered(ttl=0.2)
        time.sleep(0.3)
        source.value = 2
        assert source.remembered(ttl=0.2) == 2

    def test_long_ttl_needs_a_bound(self, source: Source) -> None:
        with pytest.raises(ValueError, match="bound"):
            source.remembered(ttl=3600)
        assert source.remembered(ttl=3600, bound=3600) == 1

    def test_exceptions_are_raised_and_not_cached(self) -> None:
        def fails() -> None:
            raise LookupError

        for _ in range(2):
            with pytest.raises(LookupError):
                remember("failing", build=fails)
        assert remember("failing", build=lambda: "fine") == "fine"

    def test_large_results_are_not_cached(self, source: Source) -> None:
        source.value = "x" * MAX_BYTES
        assert source.remembered() == source.remembered()
        assert source.reads == 2

    def test_redis_holds_no_pickles(self, source: Source) -> None:
        source.remembered()
        cache.set("plain", {"a": 1})
        kept = [
            redis_client().get(key)
            for key in redis_client().scan_iter(f"{current.CACHING_PREFIX}:*")
            if b":l:" not in key
        ]
        assert kept
        assert not any(value and b"\x80\x04" in value for value in kept)


@pytest.mark.django_db(transaction=True)
class TestTags:
    def test_change_is_visible_at_once_in_its_process(self, source: Source) -> None:
        source.remembered()
        source.value = 2
        tags_change("things")
        assert source.remembered() == 2

    def test_change_takes_effect_after_commit(self, source: Source) -> None:
        source.remembered()
        version = redis_client().get(tag_key("things"))
        with transaction.atomic():
            tags_change("things")
            assert redis_client().get(tag_key("things")) == version
        assert redis_client().get(tag_key("things")) is None
        source.value = 2
        assert source.remembered() == 2

    def test_rollback_changes_nothing(self, source: Source) -> None:
        source.remembered()
        with transaction.atomic():
            tags_change("things")
            transaction.set_rollback(True)
        source.value = 2
        engine.local.clear()
        assert source.remembered() == 1

    def test_uncommitted_data_is_not_shared(self, source: Source) -> None:
        source.remembered()
        with transaction.atomic():
            source.value = "uncommitted"
            tags_change("things")
            assert source.remembered() == "uncommitted"
            transaction.set_rollback(True)
        engine.local.clear()
        assert source.remembered() == 1

    def test_change_during_a_build_invalidates_its_entry(self, source: Source) -> None:
        def reads_then_someone_writes() -> str:
            tags_change("things")
            return "old"

        assert source.remembered(build=reads_then_someone_writes) == "old"
        assert source.remembered() == 1

    def test_callers_after_a_change_do_not_join_an_earlier_build(self, source: Source) -> None:
        reading, written = threading.Event(), threading.Event()

        def slow() -> str:
            reading.set()
            written.wait(5)
            return "old"

        with ThreadPoolExecutor(2) as threads:
            early = threads.submit(source.remembered, build=slow)
            reading.wait(5)
            tags_change("things")
            late = threads.submit(source.remembered)
            time.sleep(0.2)
            written.set()
            assert (early.result(5), late.result(5)) == ("old", 1)

    def test_absent_tag_is_a_miss(self, source: Source) -> None:
        source.remembered(tags=("things", "others"))
        engine.local.clear()
        redis_client().unlink(tag_key("others"))
        source.value = 2
        assert source.remembered(tags=("things", "others")) == 2

    def test_other_processes_see_a_change_within_local_seconds(self, source: Source) -> None:
        """The reader polls in another process; the time until it sees the change is measured."""
        source.remembered()
        program = (
            "import django, json, sys, time; django.setup()\n"
            "from apps.practices.caching import remember\n"
            "read = lambda: remember('thing', tags=('things',), build=lambda: 2)\n"
            "print(json.dumps(read()), flush=True)\n"
            "deadline = time.monotonic() + 30\n"
            "while read() != 2 and time.monotonic() < deadline: time.sleep(0.01)\n"
            "print(json.dumps(read()), flush=True)\n"
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            assert json.loads(reader.stdout.readline()) == 1, "the other process reads what this one stored"
            tags_change("things")
            changed = time.monotonic()
            assert json.loads(reader.stdout.readline()) == 2
            assert time.monotonic() - changed < 15  # 1 s, and the rest for a busy machine


@pytest.mark.django_db(transaction=True)
class TestStampede:
    def test_fifty_threads_one_build(self, source: Source) -> None:
        def slow() -> int:
            time.sleep(0.3)
            return source()

        assert at_once(50, lambda _: source.remembered(build=slow)) == [1] * 50
        assert source.reads == 1

    def test_waits_for_the_build_of_another_process(self, source: Source) -> None:
        key = engine.entry_key("data:thing")
        redis_client().set(f"{key}:lock", f"{'0' * 16}|v1", px=5000)
        redis_client().set(tag_key("things"), "v1")

        def finishes_elsewhere() -> None:
            time.sleep(0.4)
            entry = Entry(body=b'"theirs"', created=time.time(), ttl=60, tags={"things": "v1"})
            redis_client().set(key, engine.entry_to_bytes(entry), px=60_000)

        with ThreadPoolExecutor(1) as threads:
            other = threads.submit(finishes_elsewhere)
            assert source.remembered() == "theirs"
            other.result()
        assert source.reads == 0

    def test_stale_entry_is_served_while_one_builds(self, source: Source) -> None:
        options = {"ttl": 0.2, "stale": 30}
        source.remembered(**options)
        time.sleep(0.3)
        building, go = threading.Event(), threading.Event()

        def slow() -> int:
            building.set()
            go.wait(5)
            return 2

        with ThreadPoolExecutor(1) as threads:
            builder = threads.submit(source.remembered, build=slow, **options)
            building.wait(5)
            assert source.remembered(**options) == 1
            tags_change("things")
            source.value = 3
            assert source.remembered(**options) == 3, "stale applies only to age, never to a changed tag"
            go.set()
            assert builder.result(5) == 2


@pytest.mark.django_db(transaction=True)
class TestRedisUnavailable:
    def test_stopped_redis_stops_nothing(self, source: Source, settings: Any) -> None:
        with private_redis(settings) as server, capture_logs() as lines:
            source.remembered()
            server.kill()
            began = time.monotonic()
            for number in range(200):
                assert remember(f"key{number % 20}", build=source) == 1
                assert cache.get("absent", "default") == "default"
            assert time.monotonic() - began < 10
            away = [line for line in lines if line["event"] == "breaker_opened"]
            assert len(away) == 1, "one line for the change of state, not one for each call"
            source.value = 2
            tags_change("things")
            assert source.remembered() == 2, "a change takes effect in its own process without Redis"
            assert not is_settled()
            server.start()
            redis_client().breaker.reset()
            wait_until(is_settled, seconds=10, what="the change to reach Redis")

    def test_paused_redis_costs_one_timeout(self, source: Source, settings: Any) -> None:
        with private_redis(settings) as server:
            source.remembered()
            assert server.pid
            os.kill(server.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                for number in range(100):
                    remember(f"key{number}", build=source)
                    assert cache.get("absent") is None
                seconds = time.monotonic() - began
            finally:
                os.kill(server.pid, signal.SIGCONT)
            assert seconds < 5, f"100 reads took {seconds:.1f} s"

    def test_unresponsive_redis_gives_the_default(self, settings: Any) -> None:
        with black_hole(settings):
            began = time.monotonic()
            assert [cache.get("k", "default") for _ in range(20)] == ["default"] * 20
            assert cache.ttl("k") is None
            assert cache.get_many(["a"]) == {}
            assert time.monotonic() - began < 4

    def test_unsent_change_disqualifies_redis(self, source: Source, settings: Any) -> None:
        """Redis still has the entry under its old tag. The process that changed the tag must not serve it."""
        with private_redis(settings) as server:
            source.remembered()
            assert server.pid
            os.kill(server.pid, signal.SIGSTOP)
            source.value = 2
            tags_change("things")
            os.kill(server.pid, signal.SIGCONT)
            redis_client().breaker.reset()
            engine.local.clear()
            assert source.remembered() == 2
            for _ in range(100):
                if is_settled():
                    break
                time.sleep(0.1)
            assert redis_client().get(tag_key("things")) != b"v1"
            engine.local.clear()
            assert source.remembered() == 2

    def test_single_flight_without_redis(self, source: Source, settings: Any) -> None:
        with private_redis(settings) as server:
            server.kill()
            settings.CACHING_LOCAL_SECONDS = 30

            def slow() -> int:
                time.sleep(0.2)
                return source()

            with ThreadPoolExecutor(20) as threads:
                assert list(threads.map(lambda _: source.remembered(build=slow), range(40))) == [1] * 40
            assert source.reads == 1

    def test_clear_deletes_only_own_keys(self) -> None:
        redis_client().set("celery-queue", "precious")
        cache.set("mine", 1)
        cache.clear()
        assert cache.get("mine") is None
        assert redis_client().get("celery-queue") == b"precious"
        redis_client().unlink("celery-queue")


class TestBreaker:
    def test_opens_after_failures_and_allows_one_probe(self) -> None:
        now = [0.0]
        breaker = Breaker("thing", clock=lambda: now[0])
        for _ in range(FAILURES):
            assert breaker.allows()
            breaker.failed(ConnectionError())
        assert not breaker.allows()
        now[0] += FIRST_PAUSE
        assert [breaker.allows() for _ in range(3)] == [True, False, False]
        breaker.failed(ConnectionError())
        now[0] += FIRST_PAUSE
        assert not breaker.allows(), "the pause grows"
        now[0] += FIRST_PAUSE
        assert breaker.allows()
        breaker.succeeded()
        assert [breaker.allows() for _ in range(3)] == [True] * 3


class TestLocalTier:
    def test_is_bounded_in_bytes(self) -> None:
        tier = LocalTier(max_bytes=20 * (1000 + OVERHEAD))
        for number in range(100):
            tier.put(str(number), Entry(body=b"x" * 1000, created=0, ttl=1), checked_at=0)
        assert [number for number in range(100) if tier.get(str(number))] == list(range(80, 100))

    def test_drops_the_least_recently_used(self) -> None:
        tier = LocalTier(max_bytes=2 * OVERHEAD)
        for key in ("old", "used"):
            tier.put(key, Entry(body=b"", created=0, ttl=1), checked_at=0)
        tier.get("old")
        tier.put("new", Entry(body=b"", created=0, ttl=1), checked_at=0)
        assert [key for key in ("old", "used", "new") if tier.get(key)] == ["old", "new"]

    @pytest.mark.parametrize("bound", [2 * OVERHEAD, 0])
    def test_does_not_store_what_is_larger_than_the_tier(self, bound: int) -> None:
        tier = LocalTier(max_bytes=bound)
        for body in (b"x", b"x" * 2 * OVERHEAD):
            tier.put("key", Entry(body=body, created=0, ttl=1), checked_at=0)
        assert tier.get("key") is None

    def test_counted_bytes_match_memory_used(self) -> None:
        tier = LocalTier(max_bytes=64 * 1024**2)
        tracemalloc.start()
        try:
            for number in range(400):
                entry = Entry(body=json_bytes({"text": "x" * 5_000}), created=0, ttl=1)
                tier.put(str(number), entry, checked_at=0)
            counted = 400 * (len(entry.body) + OVERHEAD)
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert taken < 1.5 * counted


class TestAddress:
    """Redis URLs are normalised for redis-py, django-redis and kombu."""

    @pytest.mark.parametrize(
        ("given", "used"),
        [
            ("redis://h:6379/0", "redis://h:6379/0"),
            ("rediss://:p%40ss@h:6379/0", "rediss://:p%40ss@h:6379/0?ssl_cert_reqs=required"),
            ("rediss://h:6379/0?ssl_cert_reqs=CERT_NONE", "rediss://h:6379/0?ssl_cert_reqs=none"),
            (
                "rediss://h/1?ssl_cert_reqs=CERT_REQUIRED&ssl_check_hostname=false",
                "rediss://h/1?ssl_cert_reqs=required&ssl_check_hostname=false",
            ),
            ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ],
    )
    def test_certificates_are_verified_by_default(self, given: str, used: str) -> None:
        assert redis_url(given) == used

    def test_unknown_value_is_refused(self) -> None:
        with pytest.raises(ValueError, match="ssl_cert_reqs"):
            redis_url("rediss://h:6379/0?ssl_cert_reqs=maybe")


class TestChecks:
    @pytest.mark.parametrize(
        ("option", "value", "id"),
        [
            ("CLIENT_CLASS", "django_redis.client.DefaultClient", "caching.E001"),
            ("IGNORE_EXCEPTIONS", False, "caching.E001"),
            ("SERIALIZER", "django_redis.serializers.pickle.PickleSerializer", "caching.E002"),
        ],
    )
    def test_unguarded_cache_is_reported(self, settings: Any, option: str, value: Any, id: str) -> None:
        default = settings.CACHES["default"]
        settings.CACHES = {"default": {**default, "OPTIONS": {**default["OPTIONS"], option: value}}}
        with pytest.raises(SystemCheckError, match=id):
            call_command("check", tags=["caches"])
