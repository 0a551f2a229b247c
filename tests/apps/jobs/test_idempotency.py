"""Idempotency-Key: a repeated request gets the stored response and takes no effect."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import resolve
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.selectors.sessions import sessions_forget_all
from apps.accounts.services.deletion import user_delete
from apps.jobs.models import IdempotencyKey, Job, JobState
from apps.jobs.services import idempotency
from apps.practices.validation.fields import BoundedIntegerField
from apps.practices.validation.query import query_parameters
from tests.apps.accounts.factories import bearer, user_create
from tests.apps.jobs.notes import COUNTS, NOTES, InTheView, titles
from tests.contract.document import contract_of
from tests.problems import assert_problem
from tests.repetitions import assert_repeated, send
from tests.sample.views import NoteCounts

pytestmark = pytest.mark.django_db
JOBS = (COUNTS, "/api/v1/me/export")


@pytest.mark.parametrize("path", JOBS)
def test_job_is_submitted_once(owner: User, path: str) -> None:
    first, again = (send(owner, path) for _ in range(2))
    assert first.status_code == 202, first.content
    assert_repeated(first, again)
    assert {"Location", "Retry-After"} <= set(first.headers)
    assert [str(row.pk) for row in Job.objects.all()] == [first.json()["id"]]


def test_job_is_retried_once(owner: User, job_make: Callable[..., Job]) -> None:
    job = job_make(state=JobState.DISCARDED, finished_at=timezone.now())
    path = f"/api/v1/jobs/{job.pk}/retry"
    first, again = (send(owner, path) for _ in range(2))
    assert first.status_code == 202, first.content
    assert_repeated(first, again)
    assert_problem(send(owner, path, key=None), 409, "job-not-discarded")
    other = job_make(state=JobState.DISCARDED, finished_at=timezone.now())
    assert_problem(send(owner, f"/api/v1/jobs/{other.pk}/retry"), 422, "idempotency-key-reused")


@pytest.mark.parametrize(
    ("body", "is_same"),
    [
        ('{"title":"A","body":"B"}', True),
        (' {"body" : "\\u0042", "title": "A"}\n', True),
        ('{"title":"A","body":"B","published":true}', False),
        ('{"title":"A","body":"b"}', False),
        ('["title","A","body","B"]', False),
    ],
)
def test_json_is_compared_by_value(owner: User, body: str, is_same: bool) -> None:
    first = send(owner, NOTES, {"title": "A", "body": "B"})
    again = send(owner, NOTES, body)
    if is_same:
        assert_repeated(first, again)
    else:
        assert_problem(again, 422, "idempotency-key-reused")


def test_query_is_compared(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = partial(query_parameters, allowed={"more": BoundedIntegerField()})
    monkeypatch.setattr(NoteCounts, "query_parsers", {"POST": parse})
    assert send(owner, COUNTS).status_code == 202
    assert_problem(send(owner, f"{COUNTS}?more=1"), 422, "idempotency-key-reused")


def test_key_belongs_to_user_and_route(owner: User) -> None:
    other = user_create()
    ids = [send(*asked).json()["id"] for asked in ((owner, COUNTS), (other, COUNTS), (owner, "/api/v1/me/export"))]
    ids.append(send(owner, COUNTS, key="K").json()["id"])
    ids += [send(owner, COUNTS, key=None).json()["id"] for _ in range(2)]
    assert len(set(ids)) == Job.objects.count() == 6
    assert IdempotencyKey.objects.count() == 4


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel", "a\tb", "a\x7f"])
def test_malformed_key_is_pointed_at(owner: User, key: str) -> None:
    answer = send(owner, COUNTS, key=key.encode().decode("latin-1"))
    assert_problem(answer, 400, "validation", pointer="Idempotency-Key:")
    assert not Job.objects.exists()


@pytest.mark.parametrize("key", ["k" * 255, " a b ", "!", '"8e03978e-40d5-43dd-bc93-6894a57f9324"'])
def test_printable_keys_are_accepted(owner: User, key: str) -> None:
    first, again = (send(owner, COUNTS, key=key) for _ in range(2))
    assert_repeated(first, again)


def test_authentication_comes_before_the_key(owner: User) -> None:
    assert send(owner, COUNTS).status_code == 202
    assert_problem(Client().post(COUNTS, "{}", content_type="application/json", HTTP_IDEMPOTENCY_KEY="\x01"), 401)
    headers = bearer(owner)
    user_delete(user=owner, now=timezone.now())
    assert_problem(
        Client().post(COUNTS, "{}", content_type="application/json", HTTP_IDEMPOTENCY_KEY="k", **headers), 401
    )


def test_replay_counts_towards_limits(owner: User) -> None:
    narrow = {**settings.THROTTLING_POLICIES, "user": (2, 900)}
    with override_settings(THROTTLING_POLICIES=narrow):
        answers = [send(owner, COUNTS).status_code for _ in range(3)]
    assert answers == [202, 202, 429]


def test_refused_request_leaves_the_key_free(owner: User) -> None:
    assert_problem(send(owner, NOTES, {"body": "no title"}), 400, "validation", pointer="/title")
    assert_problem(send(owner, NOTES, "{"), 400, "malformed")
    assert_problem(send(owner, NOTES, "x", content_type="text/plain"), 415)
    assert not IdempotencyKey.objects.exists()
    assert send(owner, NOTES, {"title": "A title"}).status_code == 201


def test_failure_undoes_the_effect(owner: User, in_the_view: InTheView) -> None:
    def fail() -> None:
        raise RuntimeError("planted")

    in_the_view(fail)
    client = Client(raise_request_exception=False)
    answer = client.post(
        NOTES, '{"title":"A"}', content_type="application/json", **bearer(owner), HTTP_IDEMPOTENCY_KEY="k"
    )
    assert_problem(answer, 500)
    assert (titles(), IdempotencyKey.objects.count()) == ([], 0)
    in_the_view(lambda: None)


def test_too_large_response_undoes_the_effect(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "RESPONSE_BYTES_MAX", 100)
    assert_problem(send(owner, NOTES, {"title": "A"}), 500)
    assert (titles(), IdempotencyKey.objects.count()) == ([], 0)


def test_without_a_key_nothing_is_stored(owner: User) -> None:
    headers = bearer(owner)
    with CaptureQueriesContext(connection) as queries:
        answer = Client().post(COUNTS, "{}", content_type="application/json", **headers)
    assert answer.status_code == 202
    assert [query["sql"] for query in queries if "idempotency" in query["sql"] or "lock_timeout" in query["sql"]] == []
    assert not IdempotencyKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_key_takes_six_statements(owner: User) -> None:
    headers = bearer(owner)
    counts = []
    for more in ({}, {"HTTP_IDEMPOTENCY_KEY": "k"}):
        sessions_forget_all()
        with CaptureQueriesContext(connection) as queries:
            assert (
                Client().post(NOTES, '{"title":"A"}', content_type="application/json", **headers, **more).status_code
                == 201
            )
        counts.append(len(queries))
    assert counts[1] - counts[0] == 6, "BEGIN, lock_timeout, claim, lock_timeout, response, COMMIT"


@pytest.mark.parametrize("bound", ["30s", "1234ms"])
def test_lock_timeout_of_the_view_is_unchanged(owner: User, in_the_view: InTheView, bound: str) -> None:
    seen = []

    def look() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            seen.append(cursor.fetchone()[0])

    in_the_view(look)
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{bound}'")
    assert send(owner, NOTES, {"title": "A"}).status_code == 201
    assert seen == [bound]


def test_expired_key_is_free_and_pruned(owner: User) -> None:
    first = send(owner, COUNTS)
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    assert send(owner, COUNTS).content == first.content
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=24, minutes=1))
    second, third = (send(owner, COUNTS) for _ in range(2))
    assert second.content != first.content
    assert_repeated(second, third)
    assert IdempotencyKey.objects.count() == 1
    assert "idempotency-keys: 0 deleted" in pruned()
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=24, minutes=1))
    assert "idempotency-keys: 1 deleted (expired more than 1 days ago)" in pruned()
    assert not IdempotencyKey.objects.exists()


def pruned() -> str:
    output = StringIO()
    call_command("prune", "--only", "idempotency-keys", stdout=output)
    return output.getvalue()


def test_keys_are_deleted_with_the_account(owner: User) -> None:
    other = user_create()
    for user in (owner, other):
        send(user, COUNTS)
    user_delete(user=owner, now=timezone.now())
    assert list(IdempotencyKey.objects.values_list("owner", flat=True)) == [other.pk]


def operations() -> dict[str, dict[str, Any]]:
    """Return the operations by id, with the reason of a POST that takes no key (``unrepeatable``)."""
    found = {}
    for path, item in contract_of("tests.sample.urls").document["paths"].items():
        view = resolve(re.sub(r"{\w+}", "01890000-0000-7000-8000-000000000000", path)).func.cls
        for method, operation in item.items():
            reason = getattr(view, "unrepeatable", None) if method == "post" else None
            found[operation["operationId"]] = {**operation, "unrepeatable": reason}
    return found


def test_every_creating_post_documents_the_key() -> None:
    """Except where the view gives a reason (``unrepeatable``): such responses must not be stored."""
    found = operations()
    takes = {
        name
        for name, operation in found.items()
        if any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", ()))
    }
    creates = {name for name, operation in found.items() if {"201", "202"} & set(operation["responses"])}
    excused = {name for name, operation in found.items() if operation["unrepeatable"]}
    assert {"auth_register", "auth_login", "auth_refresh", "sample_keys_create"} <= excused
    assert takes & excused == set()
    assert creates - takes - excused == set()
    for name, operation in found.items():
        text = json.dumps({status: operation["responses"].get(status) for status in ("409", "422")})
        assert ("Request in progress" in text, "Idempotency-Key reused" in text) == ((name in takes,) * 2), name
