"""jobs, from outside: a request is answered with 202, and a worker that shares only the stores does the work."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from datetime import datetime
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from kombu import Connection

from apps.jobs.kinds import JobKind, kind_named
from apps.jobs.models import Job
from apps.jobs.services import broker, job_submit
from apps.jobs.services.relay import jobs_relay
from apps.practices.database.connections import breaker_of
from apps.practices.mechanisms.breaker import Breaker
from project.celery import app
from settings.env import read_environment
from tests.apps.accounts.factories import bearer, user_create

NOBODY_LISTENS = "redis://127.0.0.1:1/0"


def test_message_holds_only_the_id(transactional_db: None) -> None:
    with Connection(
        settings.CELERY_BROKER_URL, transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS
    ) as connection:
        connection.default_channel.queue_purge("default")
        job = job_submit(kind="sample.count", owner=user_create(), parameters={"seconds": 0})
        queue = connection.SimpleQueue("default")
        message = queue.get(timeout=10)
        message.ack()
        queue.close()
    arguments, named, _ = message.payload
    assert (arguments, named) == ([str(job.pk)], {})
    assert message.content_type == "application/json"
    assert message.headers["task"] == "jobs.run"


def test_rolled_back_submission_sends_nothing(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr("apps.jobs.services.submission.publish", lambda **job: sent.append(job))
    with transaction.atomic():
        job_submit(kind="sample.count", owner=user_create(), parameters={})
        transaction.set_rollback(True)
    assert (sent, Job.objects.count()) == ([], 0)


@pytest.fixture
def no_broker(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CELERY_BROKER_URL = NOBODY_LISTENS
    monkeypatch.setattr(broker, "_breaker", Breaker("broker"))


@pytest.mark.parametrize(
    ("policy", "is_reported"), [("noeviction", False), ("volatile-lru", False), ("allkeys-lru", True)]
)
def test_broker_that_may_evict_queues_is_reported(policy: str, is_reported: bool) -> None:
    with Connection(settings.CELERY_BROKER_URL) as connection:
        server = connection.default_channel.client
        before = server.config_get("maxmemory-policy")["maxmemory-policy"]
        server.config_set("maxmemory-policy", policy)
        try:
            found = io.StringIO()
            call_command("check", "--deploy", "--tag", "jobs", stderr=found)
        finally:
            server.config_set("maxmemory-policy", before)
    assert ("jobs.W001" in found.getvalue()) is is_reported


def test_unavailable_broker_stops_no_check(no_broker: None) -> None:
    began = time.monotonic()
    call_command("check", "--deploy", "--tag", "jobs")
    assert time.monotonic() - began < 5


def test_submission_without_broker_is_left_to_the_relay(transactional_db: None, client: Any, no_broker: None) -> None:
    headers = bearer(user_create())
    started = time.monotonic()
    answers = [
        client.post("/api/v1/sample/notes/counts", {"seconds": 0}, content_type="application/json", **headers)
        for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert time.monotonic() - started < 6
    assert Job.objects.filter(state="queued", sent_at=None).count() == 3
    assert jobs_relay() == 0


@pytest.mark.parametrize("call", ["", "key", "retry"])
def test_accepted_job_is_answered_without_both_stores(
    transactional_db: None, client: Any, no_broker: None, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """PostgreSQL ends the connection between the commit and the message, and refuses new ones."""
    owner = user_create()
    failed = Job.objects.create(
        kind="sample.count", owner=owner, state="discarded", finished_at=timezone.now(), attempts=5
    )
    path = f"/api/v1/jobs/{failed.pk}/retry" if call == "retry" else "/api/v1/sample/notes/counts"
    headers = bearer(owner) | ({"HTTP_IDEMPOTENCY_KEY": "once"} if call == "key" else {})

    def gone(**job: Any) -> bool:
        server = connection.connection.info
        with psycopg.connect(server.dsn, password=server.password, autocommit=True) as another:
            another.execute("SELECT pg_terminate_backend(%s, 5000)", [server.backend_pid])
        monkeypatch.setitem(connection.settings_dict, "PORT", "1")
        return broker.publish(**job)

    with monkeypatch.context() as patch:
        patch.setattr("apps.jobs.services.submission.publish", gone)
        body = {} if call == "retry" else {"seconds": 0}
        answer = client.post(path, body, content_type="application/json", **headers)
        connection.close()
        with pytest.raises(OperationalError):
            connection.ensure_connection()
    monkeypatch.undo()
    breaker_of("default").succeeded()
    job = Job.objects.get(pk=answer.json()["id"])
    assert (answer.status_code, answer.json()["state"], job.state, job.attempts) == (202, "queued", "queued", 0)
    assert datetime.fromisoformat(answer.json()["created_at"]) == job.created_at


def test_celery_settings() -> None:
    conf = app.conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert conf.accept_content == ["json"]
    assert conf.task_serializer == "json"
    assert conf.task_ignore_result
    assert conf.result_backend is None
    assert not conf.worker_enable_remote_control
    assert conf.broker_url == settings.CELERY_BROKER_URL


@pytest.mark.parametrize(("kind", "pooled"), [("worker", "False"), ("web", "True")])
def test_worker_has_no_connection_pool(kind: str, pooled: str) -> None:
    code = "from django.conf import settings; print('pool' in settings.DATABASES['default']['OPTIONS'])"
    environment = {**os.environ, "PROCESS_KIND": kind}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == pooled


def test_kind_is_registered_once() -> None:
    kind = kind_named("sample.count")
    assert kind is not None

    with pytest.raises(Exception, match=r"Job kind 'sample\.count' is registered twice"):

        @JobKind("sample.count", serializer=kind.serializer)
        def another(context: Any) -> None:
            """Never registered."""


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("rediss://h:1/0", "rediss://h:1/0?ssl_cert_reqs=required"),
        ("rediss://h:1/0?ssl_check_hostname=true", "rediss://h:1/0?ssl_check_hostname=true&ssl_cert_reqs=required"),
        ("rediss://h:1/0?ssl_cert_reqs=none", "rediss://h:1/0?ssl_cert_reqs=none"),
        ("redis://h:1/0", "redis://h:1/0"),
    ],
)
def test_tls_to_the_broker_checks_certificates(given: str, used: str) -> None:
    """Without these options in the URL, kombu accepts any certificate."""
    found = read_environment(process={"DJANGO_ENV": "test", "BROKER_URL": given})
    assert found["BROKER_URL"] == used
