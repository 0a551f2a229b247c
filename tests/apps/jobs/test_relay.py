"""The relay sends the messages that the broker lacks, and no others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from kombu import Connection

from apps.jobs.models import Job
from apps.jobs.services import broker
from apps.jobs.services.pausing import queue_pause, queue_resume
from apps.jobs.services.relay import jobs_relay, message_missed
from tests.apps.accounts.factories import user_create

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]
LONG_AGO = timezone.now() - timedelta(minutes=5)


@pytest.fixture(autouse=True)
def empty_queue() -> Iterator[None]:
    """No message before a test, none after it."""
    for queue in ("default", "mail"):
        messages_drop(queue)
    yield
    for queue in ("default", "mail"):
        messages_drop(queue)


def messages_drop(queue: str = "default") -> int:
    """Take all messages away, as a flushed broker would."""
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    with Connection(settings.CELERY_BROKER_URL, transport_options=options) as connection:
        return int(connection.default_channel.queue_purge(queue))


def test_unsent_job_is_sent_once(job_make: Make) -> None:
    job = job_make(sent_at=None)
    assert jobs_relay() == 1
    assert broker.depth(queue="default") == 1
    job.refresh_from_db()
    assert job.sent_at is not None
    assert jobs_relay() == 0
    assert messages_drop() == 1


def test_lost_message_is_sent_again(job_make: Make) -> None:
    job_make(sent_at=LONG_AGO)
    assert broker.depth(queue="default") == 0
    assert jobs_relay() == 1


def test_nothing_is_resent_while_messages_wait(job_make: Make) -> None:
    job_make(sent_at=None)
    jobs_relay()
    job_make(sent_at=LONG_AGO)
    assert jobs_relay() == 0


def test_scheduled_job_is_not_sent_early(job_make: Make) -> None:
    job_make(state="scheduled", run_at=timezone.now() + timedelta(minutes=1))
    assert jobs_relay() == 0


def test_slow_broker_does_not_block_the_supervisor(
    job_make: Make, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.JOBS_TICK_SECONDS = 2.5
    for _ in range(40):
        job_make(sent_at=None)
    published: list[Any] = []

    def slowly(**job: Any) -> bool:
        time.sleep(0.1)
        published.append(job)
        return True

    monkeypatch.setattr("apps.jobs.services.relay.publish", slowly)
    assert 0 < jobs_relay() == len(published) < 40
    assert Job.objects.filter(sent_at=None).count() == 40 - len(published)


def test_queues_are_checked_separately(job_make: Make) -> None:
    """Messages that wait for mails say nothing about those of others."""
    job_make(sent_at=None, queue="mail")
    job_make(sent_at=None)
    assert jobs_relay() == 2
    messages_drop()
    Job.objects.update(sent_at=LONG_AGO)
    assert jobs_relay() == 1
    assert (broker.depth(queue="default"), broker.depth(queue="mail")) == (1, 1)


def test_useless_messages_are_not_resent(job_make: Make, settings: Any) -> None:
    """An owner who runs as many jobs as they may has 99 that wait: so many messages a few seconds, each for nothing."""
    settings.JOBS_RUNNING_PER_USER = 1
    running = job_make(state="running", leased_until=timezone.now())
    for _ in range(20):
        job_make(sent_at=LONG_AGO)
    assert jobs_relay() == 0
    job_make(sent_at=LONG_AGO, owner=None)
    job_make(sent_at=LONG_AGO, owner=user_create())
    job_make(sent_at=LONG_AGO, queue="mail")
    assert jobs_relay() == 3
    for queue in ("default", "mail"):
        messages_drop(queue)
    Job.objects.filter(pk=running.pk).update(state="succeeded", finished_at=timezone.now(), leased_until=None)
    assert jobs_relay() == 20


def test_missed_message_is_sent_again(job_make: Make) -> None:
    job = job_make(sent_at=timezone.now())
    message_missed(job_id=str(job.pk))
    assert jobs_relay() == 1


def test_paused_queue_gets_no_messages_until_it_is_resumed(
    job_make: Make, django_capture_on_commit_callbacks: Any
) -> None:
    """Each would wake a process that claims nothing, again and again."""
    for _ in range(3):
        job_make(sent_at=LONG_AGO)
    job_make(sent_at=LONG_AGO, queue="mail")
    queue_pause(queue="default", by="a test")
    assert jobs_relay() == 1
    assert (broker.depth(queue="default"), broker.depth(queue="mail")) == (0, 1)
    with django_capture_on_commit_callbacks(execute=True):
        assert queue_resume(queue="default", by="a test")
    assert broker.depth(queue="default") == 1, "a worker starts at once"
    messages_drop()
    assert jobs_relay() == 3
