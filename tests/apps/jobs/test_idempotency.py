"""Idempotency-Key: a repetition gets the first answer again, and nothing happens twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone
from rest_framework import status
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

import project.urls
from apps.accounts.models import User
from apps.accounts.selectors.sessions import sessions_forget_all
from apps.accounts.services.deletion import user_delete
from apps.jobs.idempotency import idempotent
from apps.jobs.models import IdempotencyKey, Job, JobState
from apps.jobs.services import idempotency
from apps.practices.errors import PermissionDenied
from tests.apps.accounts.factories import bearer, user_create
from tests.contract.document import contract_of
from tests.problems import assert_problem
from tests.processes import wait_until
from tests.repetitions import assert_repeated

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)
NOTES = "/api/v1/sample/notes"
COUNTS = f"{NOTES}/counts"
JOBS = (COUNTS, "/api/v1/me/export")


def send(owner: User, path: str, body: Any = None, *, key: str | None = "k", **options: Any) -> Any:
    headers = {**bearer(owner), **({} if key is None else {"HTTP_IDEMPOTENCY_KEY": key})}
    content = "{}" if body is None else body if isinstance(body, str) else json.dumps(body)
    return Client().post(
        path, content, content_type=options.pop("content_type", "application/json"), **headers, **options
    )


@pytest.mark.parametrize("path", JOBS)
def test_a_job_is_submitted_once(owner: User, path: str) -> None:
    first, again = (send(owner, path) for _ in range(2))
    assert first.status_code == 202, first.content
    assert_repeated(first, again)
    assert {"Location", "Retry-After"} <= set(first.headers)
    assert [str(row.pk) for row in Job.objects.all()] == [first.json()["id"]]


def test_a_job_is_tried_again_once(owner: User, job_make: Callable[..., Job]) -> None:
    job = job_make(state=JobState.FAILED, finished_at=timezone.now())
    path = f"/api/v1/jobs/{job.pk}/retry"
    first, again = (send(owner, path) for _ in range(2))
    assert first.status_code == 202, first.content
    assert_repeated(first, again)
    assert_problem(send(owner, path, key=None), 409, "job-not-failed")
    other = job_make(state=JobState.FAILED, finished_at=timezone.now())
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
def test_what_is_said_counts_and_not_how_it_is_written(owner: User, body: str, is_same: bool) -> None:
    first = send(owner, NOTES, {"title": "A", "body": "B"})
    again = send(owner, NOTES, body)
    if is_same:
        assert_repeated(first, again)
    else:
        assert_problem(again, 422, "idempotency-key-reused")


def test_the_query_counts(owner: User) -> None:
    assert send(owner, COUNTS).status_code == 202
    assert_problem(send(owner, f"{COUNTS}?more=1"), 422, "idempotency-key-reused")


def test_a_key_is_its_users_and_its_routes(owner: User) -> None:
    other = user_create()
    ids = [send(*asked).json()["id"] for asked in ((owner, COUNTS), (other, COUNTS), (owner, "/api/v1/me/export"))]
    ids.append(send(owner, COUNTS, key="K").json()["id"])
    ids += [send(owner, COUNTS, key=None).json()["id"] for _ in range(2)]
    assert len(set(ids)) == Job.objects.count() == 6
    assert IdempotencyKey.objects.count() == 4


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel", "a\tb", "a\x7f"])
def test_a_malformed_key_is_pointed_at_and_nothing_happens(owner: User, key: str) -> None:
    answer = send(owner, COUNTS, key=key.encode().decode("latin-1"))
    assert_problem(answer, 400, "validation", pointer="Idempotency-Key:")
    assert not Job.objects.exists()


@pytest.mark.parametrize("key", ["k" * 255, " a b ", "!", '"8e03978e-40d5-43dd-bc93-6894a57f9324"'])
def test_any_printable_key_will_do(owner: User, key: str) -> None:
    first, again = (send(owner, COUNTS, key=key) for _ in range(2))
    assert_repeated(first, again)


def test_who_may_not_is_told_so_before_the_key_is_looked_at(owner: User) -> None:
    assert send(owner, COUNTS).status_code == 202
    assert_problem(Client().post(COUNTS, "{}", content_type="application/json", HTTP_IDEMPOTENCY_KEY="\x01"), 401)
    headers = bearer(owner)
    user_delete(user=owner, now=timezone.now())
    assert_problem(
        Client().post(COUNTS, "{}", content_type="application/json", HTTP_IDEMPOTENCY_KEY="k", **headers), 401
    )


def test_limits_count_a_repetition(owner: User) -> None:
    narrow = {**settings.THROTTLING_POLICIES, "user": (2, 900)}
    with override_settings(THROTTLING_POLICIES=narrow):
        answers = [send(owner, COUNTS).status_code for _ in range(3)]
    assert answers == [202, 202, 429]


def test_what_is_refused_leaves_the_key_free(owner: User) -> None:
    assert_problem(send(owner, NOTES, {"body": "no title"}), 400, "validation", pointer="/title")
    assert_problem(send(owner, NOTES, "{"), 400, "malformed")
    assert_problem(send(owner, NOTES, "x", content_type="text/plain"), 415)
    assert not IdempotencyKey.objects.exists()
    assert send(owner, NOTES, {"title": "A title"}).status_code == 201


@pytest.fixture
def in_the_view(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Have something happen once a note is stored, before its answer is."""
    from tests.sample import views

    stored = views.note_create

    def arrange(happening: Callable[[], Any]) -> None:
        def create(**values: Any) -> Any:
            note = stored(**values)
            found = happening()
            return note if found is None else found

        monkeypatch.setattr(views, "note_create", create)

    return arrange


def titles() -> list[str]:
    from tests.sample.models import Note

    return list(Note.objects.values_list("title", flat=True))


def test_a_failure_undoes_the_effect_and_leaves_the_key_free(
    owner: User, in_the_view: Callable[[Callable[[], Any]], None]
) -> None:
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


def test_an_answer_beyond_the_bound_is_not_given(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "ANSWER_BYTES", 100)
    assert_problem(send(owner, NOTES, {"title": "A"}), 500)
    assert (titles(), IdempotencyKey.objects.count()) == ([], 0)


def test_without_a_key_nothing_is_asked_or_kept(owner: User) -> None:
    headers = bearer(owner)
    with CaptureQueriesContext(connection) as queries:
        answer = Client().post(COUNTS, "{}", content_type="application/json", **headers)
    assert answer.status_code == 202
    assert [query["sql"] for query in queries if "idempotency" in query["sql"] or "lock_timeout" in query["sql"]] == []
    assert not IdempotencyKey.objects.exists()


@committed
def test_a_key_costs_six_short_statements(owner: User) -> None:
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
    assert counts[1] - counts[0] == 6, "begin, the wait's bound, the claim, the bound before, the answer, commit"


def test_after_its_time_a_key_is_free_before_it_is_pruned_and_gone_after(owner: User) -> None:
    first = send(owner, COUNTS)
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    assert send(owner, COUNTS).content == first.content
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=24, minutes=1))
    second, third = (send(owner, COUNTS) for _ in range(2))
    assert second.content != first.content
    assert_repeated(second, third)
    assert IdempotencyKey.objects.count() == 1
    assert "idempotency-keys: 0 removed" in pruned()
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=24, minutes=1))
    assert "idempotency-keys: 1 removed (over for 1 days)" in pruned()
    assert not IdempotencyKey.objects.exists()


def pruned() -> str:
    output = StringIO()
    call_command("prune", "--only", "idempotency-keys", stdout=output)
    return output.getvalue()


def test_keys_go_with_the_account(owner: User) -> None:
    other = user_create()
    for user in (owner, other):
        send(user, COUNTS)
    user_delete(user=owner, now=timezone.now())
    assert list(IdempotencyKey.objects.values_list("owner", flat=True)) == [other.pk]


# --- rivals, each on a connection of its own


@contextmanager
def connections_closed() -> Iterator[None]:
    try:
        yield
    finally:
        connection.close()


def send_alone(owner: User, path: str, body: Any = None, **options: Any) -> Any:
    with connections_closed():
        return send(owner, path, body, **options)


@committed
def test_of_twenty_rivals_one_acts_and_all_get_its_answer(owner: User) -> None:
    barrier = threading.Barrier(20)

    def rival(_: int) -> Any:
        with connections_closed():
            headers = bearer(owner)
            barrier.wait()
            client = Client()
            return client.post(
                COUNTS, '{"seconds":0}', content_type="application/json", **headers, HTTP_IDEMPOTENCY_KEY="one"
            )

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(rival, range(20)))
    assert Job.objects.count() == IdempotencyKey.objects.count() == 1
    done = [answer for answer in answers if answer.status_code == 202]
    assert len({answer.content for answer in done}) == 1
    assert sum("Idempotency-Replayed" not in answer for answer in done) == 1
    for answer in answers:
        if answer.status_code != 202:
            assert_problem(answer, 409, "idempotency-key-in-use")
    assert send(owner, COUNTS, {"seconds": 0}, key="one").content == done[0].content


@committed
def test_a_rival_waits_two_seconds_and_is_told_when_to_come_again(
    owner: User, in_the_view: Callable[[Callable[[], Any]], None]
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def linger() -> None:
        entered.set()
        assert leave.wait(30)

    in_the_view(linger)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send_alone, owner, NOTES, {"title": "A"})
        assert entered.wait(30)
        started = timezone.now()
        try:
            refused = send(owner, NOTES, {"title": "A"})
            other = send(owner, COUNTS)
        finally:
            leave.set()
        waited = (timezone.now() - started).total_seconds()
        assert_problem(refused, 409, "idempotency-key-in-use")
        assert int(refused["Retry-After"]) >= 1
        assert other.status_code == 202, "another route's key of the same name is in nobody's way"
        assert 1.5 < waited < 20
        assert_repeated(first.result(30), send(owner, NOTES, {"title": "A"}))
    assert titles() == ["A"]


@committed
def test_few_rivals_wait_and_the_others_are_told_at_once(
    owner: User, in_the_view: Callable[[Callable[[], Any]], None]
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def linger() -> None:
        entered.set()
        assert leave.wait(30)

    in_the_view(linger)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(send_alone, owner, NOTES, {"title": "A"})
        assert entered.wait(30)
        rivals = [pool.submit(send_alone, owner, NOTES, {"title": "A"}) for _ in range(12)]
        wait_until(
            lambda: sum(rival.done() for rival in rivals) == 12 - idempotency.RIVALS, seconds=1.8, what="the refusals"
        )
        leave.set()
        assert_repeated(first.result(30), send(owner, NOTES, {"title": "A"}))
        assert sorted(rival.result(30).status_code for rival in rivals) == [201] * idempotency.RIVALS + [409] * 10
    assert titles() == ["A"]


@pytest.mark.parametrize("bound", ["30s", "1234ms"])
def test_the_views_own_waits_are_bounded_as_ever(
    owner: User, in_the_view: Callable[[Callable[[], Any]], None], bound: str
) -> None:
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


@committed
def test_a_rival_of_one_that_fails_acts_itself(owner: User, in_the_view: Callable[[Callable[[], Any]], None]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def fail() -> None:
        if not entered.is_set():
            entered.set()
            assert leave.wait(30)
            raise RuntimeError("planted")

    in_the_view(fail)

    def first() -> Any:
        with connections_closed():
            client = Client(raise_request_exception=False)
            return client.post(
                NOTES, '{"title":"A"}', content_type="application/json", **bearer(owner), HTTP_IDEMPOTENCY_KEY="k"
            )

    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(first)
        assert entered.wait(30)
        second = pool.submit(send_alone, owner, NOTES, {"title": "A"})
        wait_for_a_lock()
        leave.set()
        assert failing.result(30).status_code == 500
        assert second.result(30).status_code == 201
    assert titles() == ["A"]


def wait_for_a_lock() -> None:
    """Wait until a statement waits for a transaction of somebody else's."""

    def is_waiting() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
            return bool(cursor.fetchone()[0])

    wait_until(is_waiting, seconds=10, what="somebody who waits")


@committed
def test_caches_and_workers_hear_of_it_once_it_is_committed(
    owner: User, in_the_view: Callable[[Callable[[], Any]], None]
) -> None:
    assert Client().get(NOTES).json()["results"] == []
    seen: list[Any] = []
    in_the_view(lambda: seen.append(ThreadPoolExecutor(1).submit(listed).result(30)))
    assert send(owner, NOTES, {"title": "A"}).status_code == 201
    assert seen == [[]], "an uncommitted note was shown"
    assert [note["title"] for note in listed()] == ["A"]


def listed() -> list[Any]:
    with connections_closed():
        found: list[Any] = Client().get(NOTES).json()["results"]
        return found


# --- other views


class Odd(APIView):
    """Answers in the way that the path names, and has it seen in the database that it did."""

    permission_classes = (IsAuthenticated,)
    is_open = True

    @staticmethod
    def asked(_user: Any) -> None:
        if not Odd.is_open:
            raise PermissionDenied

    @idempotent(require=asked)
    def post(self, request: Request, kind: str) -> HttpResponseBase:
        Job.objects.create(kind=kind, owner_id=request.user.pk)
        if kind == "stream":
            return StreamingHttpResponse([b"1"])
        if kind == "refused":
            return Response({"refused": True}, status=status.HTTP_409_CONFLICT)
        if kind == "plain":
            return HttpResponse(b"plain", status=201, content_type="text/plain", headers={"X-Of-The-View": "1"})
        return Response(status=status.HTTP_204_NO_CONTENT)


class Open(Odd):
    permission_classes = ()  # type: ignore[assignment]  # shorter than the parent's


urlpatterns = [
    path("open/<str:kind>", Open.as_view()),
    path("odd/<str:kind>", Odd.as_view()),
    *project.urls.urlpatterns,
]
handler400, handler403 = project.urls.handler400, project.urls.handler403
handler404, handler500 = project.urls.handler404, project.urls.handler500
odd = override_settings(ROOT_URLCONF=__name__)


@odd
@pytest.mark.parametrize("kind", ["plain", "empty"])
def test_answers_of_other_kinds_are_given_again_too(owner: User, kind: str) -> None:
    first, again = (send(owner, f"/odd/{kind}") for _ in range(2))
    assert first.status_code == (201 if kind == "plain" else 204)
    assert_repeated(first, again)
    assert first.headers.get("Content-Type") == ("text/plain" if kind == "plain" else None)
    assert Job.objects.count() == 1


@odd
@pytest.mark.parametrize(("kind", "answered"), [("refused", 409), ("stream", 500)])
def test_what_is_answered_as_refused_or_cannot_be_kept_is_undone(owner: User, kind: str, answered: int) -> None:
    client = Client(raise_request_exception=False)
    answer = client.post(
        f"/odd/{kind}", "{}", content_type="application/json", **bearer(owner), HTTP_IDEMPOTENCY_KEY="k"
    )
    assert answer.status_code == answered
    assert (Job.objects.count(), IdempotencyKey.objects.count()) == (0, 0)


@odd
def test_nobodys_key_is_nobodys(client: Client) -> None:
    answer = client.post("/open/plain", "{}", content_type="application/json", HTTP_IDEMPOTENCY_KEY="k")
    assert_problem(answer, 401, "not-authenticated")


@odd
def test_what_else_a_caller_must_be_allowed_is_asked_again(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    assert send(owner, "/odd/plain").status_code == 201
    monkeypatch.setattr(Odd, "is_open", False)
    assert_problem(send(owner, "/odd/plain"), 403, "permission-denied")
    assert_problem(send(owner, "/odd/plain", key=None), 403, "permission-denied")


# --- the document


def operations() -> dict[str, dict[str, Any]]:
    paths = contract_of("tests.sample.urls").document["paths"]
    return {operation["operationId"]: operation for item in paths.values() for operation in item.values()}


def test_every_post_that_creates_takes_a_key_and_says_so() -> None:
    found = operations()
    takes = {
        name
        for name, operation in found.items()
        if any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", ()))
    }
    creates = {name for name, operation in found.items() if {"201", "202"} & set(operation["responses"])}
    assert {name for name in takes if name.startswith("auth_")} == set()
    assert {name for name in creates - takes if not name.startswith("auth_")} == set()
    for name, operation in found.items():
        text = json.dumps({status: operation["responses"].get(status) for status in ("409", "422")})
        assert ("Still at work" in text, "another request" in text) == ((name in takes,) * 2), name
