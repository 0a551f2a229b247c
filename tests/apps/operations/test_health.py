"""Liveness and readiness, also with PostgreSQL or Redis down."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client, override_settings

from apps.operations import health, shutdown
from tests.problems import assert_problem
from tests.races import at_once
from tools.fleet import ROOT
from tools.stack import Stack, port_free


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start each test without cached checks, as in a new process."""
    health.dependency_checks.cache_clear()
    monkeypatch.setattr(health, "_is_migrated", False)
    yield
    shutdown._draining.clear()


def test_liveness_needs_no_database_and_no_host(client: Client) -> None:
    """Answer without a query: pytest-django raises on one without the database mark."""
    response = client.get("/healthz", headers={"Host": "10.0.0.7:8000"})
    assert (response.status_code, response.json()) == (200, {"status": "alive"})
    assert response.headers["Cache-Control"] == "no-store"


def test_other_paths_check_the_host(client: Client) -> None:
    assert_problem(client.get("/api/v1/nothing", headers={"Host": "10.0.0.7:8000"}), 400, "bad-host")


@pytest.mark.django_db
def test_readiness_lists_its_checks(client: Client) -> None:
    response = client.get("/readyz", headers={"Host": "10.0.0.7:8000"})
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "checks": {"database": "ok", "migrations": "ok", "redis": "ok"}}


def test_probes_allow_only_reads(client: Client) -> None:
    assert client.head("/healthz").status_code == 200
    assert_problem(client.post("/healthz"), 405, "method-not-allowed")


@pytest.mark.django_db
def test_missing_migration_is_not_ready(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'sample'")
    assert_problem(client.get("/readyz"), 503, "not-ready")


@pytest.mark.django_db
def test_migration_of_a_newer_release_is_ready(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('sample', '9999_newer', now())")
    assert client.get("/readyz").status_code == 200


def test_draining_instance_is_alive_but_not_ready(client: Client) -> None:
    shutdown.drain()
    response = client.get("/readyz")
    assert_problem(response, 503, "not-ready")
    assert response.headers["Retry-After"]
    assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_readiness_without_redis_is_degraded(client: Client, stack: Stack) -> None:
    stack.servers["redis"].kill()
    try:
        response = client.get("/readyz")
    finally:
        stack.restart("redis")
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["checks"]["redis"] == "down"


PROBE = """
import django; django.setup()
from django.conf import settings
from django.test import Client, override_settings
response = Client().get("/readyz")
print(response.status_code, response.content.decode())
"""


def test_readiness_without_postgresql_is_degraded(stack: Stack) -> None:
    """Ask a separate process whose PostgreSQL refuses connections."""
    nobody = f"postgres://nobody@127.0.0.1:{port_free()}/none"
    environment = {**stack.state.urls, "DJANGO_SETTINGS_MODULE": "settings.test", "DATABASE_URL": nobody}
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    status, _, content = done.stdout.partition(" ")
    assert status == "200"
    assert json.loads(content) == {
        "status": "degraded",
        "checks": {"database": "down", "migrations": "unknown", "redis": "ok"},
    }


@pytest.mark.django_db
def test_probes_in_one_second_check_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr(health, "redis_check", lambda: looks.append(1) or "ok")
    for _ in range(5):
        client.get("/readyz")
    assert len(looks) <= 2


def test_concurrent_probes_share_one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def slow() -> str:
        looks.append(1)
        time.sleep(0.2)
        return "ok"

    monkeypatch.setattr(health, "database_check", lambda: "down")  # so that no thread opens a connection
    monkeypatch.setattr(health, "redis_check", slow)
    assert at_once(8, lambda _: health.dependency_checks()) == [health.dependency_checks()] * 8
    assert len(looks) == 1


def test_probes_are_never_limited(client: Client) -> None:
    narrow = {**settings.THROTTLING_POLICIES, "address": (1, 900), "anon": (1, 900)}
    with override_settings(THROTTLING_POLICIES=narrow):
        assert [client.get("/healthz").status_code for _ in range(6)] == [200] * 6
