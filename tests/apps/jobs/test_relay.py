"""The relay sends what the broker has not got, and nothing that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone
from kombu import Connection

from apps.jobs.models import Job
from apps.jobs.services import broker
from apps.jobs.services.relay import jobs_relay

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]
LONG_AGO = timezone.now() - timedelta(minutes=5)


@pytest.fixture(autouse=True)
def empty_queue() -> Iterator[None]:
    """No message before the test, none after it."""
    messages_drop()
    yield
    messages_drop()


def messages_drop() -> int:
    """Take all messages away, as a flushed broker would."""
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    with Connection(settings.CELERY_BROKER_URL, transport_options=options) as connection:
        return int(connection.default_channel.queue_purge("default"))


def test_an_unsent_job_is_sent_once(job_make: Make) -> None:
    job = job_make(sent_at=None)
    assert jobs_relay() == 1
    assert broker.depth(queue="default") == 1
    job.refresh_from_db()
    assert job.sent_at is not None
    assert jobs_relay() == 0
    assert messages_drop() == 1


def test_a_lost_message_is_sent_again(job_make: Make) -> None:
    job_make(sent_at=LONG_AGO)
    assert broker.depth(queue="default") == 0
    assert jobs_relay() == 1


def test_nothing_is_sent_again_while_the_queue_moves(job_make: Make) -> None:
    job_make(sent_at=None)
    jobs_relay()
    job_make(sent_at=LONG_AGO)
    assert jobs_relay() == 0


def test_what_is_not_due_waits(job_make: Make) -> None:
    job_make(sent_at=None, run_at=timezone.now() + timedelta(minutes=1))
    assert jobs_relay() == 0
