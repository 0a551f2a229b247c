"""The limit of one owner's running jobs. Jobs of others pass those that wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from apps.jobs.models import Job
from apps.jobs.services import chaining, claims
from tests.apps.accounts.factories import user_create
from tests.processes import wait_until

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]


@pytest.fixture(autouse=True)
def one_each(settings: Any) -> None:
    settings.JOBS_RUNNING_PER_USER = 1


def take(worker: str, queue: str = "default") -> Job | None:
    return claims.job_claim(claimer=claims.Claimer(queue=queue, worker=worker, runner="1-1"))


def claim_waits() -> bool:
    """Return whether a claim waits for an advisory lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
        return bool(cursor.fetchone()[0])


def succeed(job: Job) -> Job | None:
    """End it well, and go on with what follows."""
    claim = claims.Claim(job.pk, job.fence, job.owner_id)
    return chaining.job_succeed(
        claim=claim, result=None, claimer=claims.Claimer(queue="default", worker="w", runner="1-1")
    )


def test_second_job_of_an_owner_waits(job_make: Make) -> None:
    first, second = job_make(start_tag=1), job_make(start_tag=2)
    other = job_make(start_tag=3, owner=user_create())
    claimed = take("a")
    assert claimed == first
    assert take("b") == other
    assert take("c") is None
    assert succeed(claimed) == second, "its share counts without the job that ends"


def test_limit_is_the_setting(job_make: Make, settings: Any) -> None:
    settings.JOBS_RUNNING_PER_USER = 2
    jobs = [job_make(start_tag=tag) for tag in range(3)]
    assert [take("a"), take("a"), take("b")] == [*jobs[:2], None]


def test_mails_and_jobs_of_the_service_do_not_count(job_make: Make) -> None:
    mails = [job_make(queue="mail", start_tag=tag) for tag in range(2)]
    nobodys = [job_make(owner=None, start_tag=tag) for tag in range(2)]
    heavy, next_heavy = job_make(start_tag=3), job_make(start_tag=4)
    assert take("a", "mail") == mails[0]
    assert [take("a"), take("a"), take("a")] == [*nobodys, heavy]
    assert take("a", "mail") == mails[1]
    assert take("a") is None
    next_heavy.refresh_from_db()
    assert next_heavy.state == "queued"


def test_chaining_claims_no_other_owners_job(job_make: Make) -> None:
    """It holds no lock, so two ends at once could claim two."""
    job_make(start_tag=1)
    claimed, others = take("a"), job_make(start_tag=2, owner=user_create())
    job_make(start_tag=3)
    assert claimed is not None
    assert succeed(claimed) is None
    assert take("a") == others


@pytest.mark.django_db(transaction=True)
def test_concurrent_workers_keep_the_limit(job_make: Make) -> None:
    first, second = job_make(start_tag=1), job_make(start_tag=2)
    taken: list[Job | None] = []

    def claim() -> None:
        taken.append(take("b"))
        connection.close()

    thread = threading.Thread(target=claim)
    with transaction.atomic():
        assert take("a") == first
        thread.start()
        wait_until(lambda: taken or claim_waits(), seconds=10, what="the other to wait")
    thread.join(30)
    assert taken == [None]
    second.refresh_from_db()
    assert (second.state, second.fence, second.attempts) == ("queued", 0, 0)
