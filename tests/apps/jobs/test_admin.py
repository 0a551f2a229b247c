"""The admin of jobs: shows no secrets, retries and cancels, and never edits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import User
from apps.jobs.models import Job, JobChunk
from apps.jobs.services.files import upload_store
from tests.apps.accounts.factories import admin_sign_in, user_create

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]
LIST = "/admin/jobs/job/"
NOW = timezone.now()


def staff(*permissions: str) -> Client:
    """Return the browser of a staff member with these permissions, or of a superuser."""
    user = user_create(is_staff=True, is_superuser=not permissions)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(headers={"accept": "text/html"})
    admin_sign_in(client, user)
    return client


@pytest.fixture
def admin() -> Client:
    return staff()


def shown(client: Client, query: str = "") -> set[Any]:
    answer = client.get(LIST + query)
    assert answer.status_code == 200
    return {job.pk for job in answer.context["cl"].result_list}


def act(client: Client, action: str, *jobs: Job) -> str:
    chosen = {"action": action, "_selected_action": [str(job.pk) for job in jobs]}
    answer = client.post(LIST, chosen, follow=True)
    return " ".join(str(message) for message in answer.context["messages"])


def failed(job_make: Make, **columns: Any) -> Job:
    return job_make(**{"state": "discarded", "finished_at": NOW, "attempts": 5, "error": "boom", **columns})


def running(job_make: Make, **columns: Any) -> Job:
    return job_make(**{"state": "running", "leased_until": NOW + timedelta(minutes=1), "fence": 3, **columns})


def test_list_shows_progress_bars_under_the_csp(admin: Client, job_make: Make) -> None:
    running(job_make, progress_done=30, progress_total=40)
    running(job_make, progress_done=1234)
    page = admin.get(LIST)
    text = page.content.decode()
    assert '<progress class="job" max="100" value="75"' in text
    assert '<td class="field-progress">1234</td>' in text
    assert "jobs/admin" in text, "the style sheet is not asked for"
    assert 'style="' not in text
    assert "unsafe" not in page.headers["Content-Security-Policy"]


def test_list_queries_do_not_grow_with_jobs(admin: Client, job_make: Make) -> None:
    counts = []
    for _ in range(2):
        for _ in range(4):
            running(job_make, owner=user_create(), parameters={"seconds": 0}, progress_total=10)
        with CaptureQueriesContext(connection) as seen:
            shown(admin)
        counts.append(sum("accounts_session" not in query["sql"] for query in seen))
        rows = next(query["sql"] for query in seen if "ORDER BY" in query["sql"] and "jobs_job" in query["sql"])
        assert '"jobs_job"."parameters"' not in rows, "the list reads what owners put in"
    assert counts[0] == counts[1]


def test_filters_and_search(admin: Client, job_make: Make, owner: User) -> None:
    other = user_create(email="somebody.else@example.com")
    old = job_make()
    mail = failed(job_make, kind="accounts.mail", owner=other, queue="mails")
    assert shown(admin) == {old.pk, mail.pk}
    assert shown(admin, "?state__exact=discarded") == {mail.pk}
    assert shown(admin, "?kind=sample.count") == {old.pk}
    assert shown(admin, "?queue=default") == {old.pk}
    assert shown(admin, f"?q={mail.pk}") == {mail.pk}
    assert shown(admin, "?q=Somebody.Else@EXAMPLE.com") == {mail.pk}
    assert shown(admin, "?q=nobody@example.com") == set()
    assert shown(admin, "?q='%22%5C") == set()


@pytest.mark.parametrize("column", ["parameters", "result", "checkpoint", "error", "owner__password"])
def test_lookups_on_hidden_columns_are_refused(job_make: Make, column: str) -> None:
    failed(job_make, parameters={"to": "ada"}, result={"to": "ada"}, checkpoint={"to": "ada"}, error="ada")
    client = staff("view_job")
    for lookup in ("icontains", "startswith", "isnull"):
        assert client.get(f"{LIST}?{column}__{lookup}=a").status_code == 400
    assert client.get(f"{LIST}?state__exact=discarded").status_code == 200


def test_detail_hides_secrets(job_make: Make, owner: User) -> None:
    job = failed(
        job_make,
        parameters={"to": "ada-the-recipient"},
        result={"said": "what-came-out"},
        checkpoint={"line": "where-it-was"},
        worker="host-of-the-worker/17",
        error='raise Broken\nheaders = {"Authorization": "Bearer abcdefghijklmnop"}\n<script>alert(1)</script>',
        problem={"title": "The job failed"},
    )
    page = f"{LIST}{job.pk}/change/"
    seen = staff("view_job").get(page).content.decode()
    for text in (str(job.pk), "raise Broken", "host-of-the-worker/17", "The job failed", "5 of 5", owner.email):
        assert text in seen
    assert f"/admin/accounts/user/{owner.pk}/change/" in seen
    assert "abcdefghijklmnop" not in seen
    assert "<script>alert" not in seen
    contents = ("ada-the-recipient", "what-came-out", "where-it-was")
    assert not [text for text in contents if text in seen]
    whole = staff().get(page).content.decode()
    assert all(text in whole for text in contents)
    assert 'name="_save"' not in whole


def test_forged_form_writes_nothing(admin: Client, job_make: Make) -> None:
    """Not even the values of the loaded form: a worker may have changed the row since."""
    job = running(job_make)
    with CaptureQueriesContext(connection) as seen:
        admin.post(f"{LIST}{job.pk}/change/", {"state": "succeeded", "fence": "1", "_save": "Save"})
    assert not [query["sql"] for query in seen if query["sql"].startswith('UPDATE "jobs_job"')]
    assert Job.objects.values_list("state", "fence").get(pk=job.pk) == ("running", 3)


def test_retry_changes_only_discarded_jobs(admin: Client, job_make: Make) -> None:
    dead = failed(job_make, checkpoint=7, problem={"title": "x"}, fence=5)
    others = [job_make(), running(job_make), job_make(state="succeeded", finished_at=NOW)]
    before = list(Job.objects.exclude(pk=dead.pk).order_by("pk").values())
    assert act(admin, "retry", dead, *others) == "Jobs that will run again: 1."
    assert list(Job.objects.exclude(pk=dead.pk).order_by("pk").values()) == before
    dead.refresh_from_db()
    assert (dead.state, dead.attempts, dead.checkpoint, dead.fence) == ("scheduled", 0, 7, 5)
    assert (dead.sent_at, dead.finished_at, dead.problem, dead.error) == (None, None, None, "")
    assert [(entry.object_id, entry.change_message) for entry in LogEntry.objects.all()] == [(str(dead.pk), "Retried.")]


def test_cancel_waiting_and_running_jobs(admin: Client, job_make: Make) -> None:
    waiting, busy, done = job_make(), running(job_make), job_make(state="succeeded", finished_at=NOW)
    for job in (waiting, busy):
        upload_store(job_id=job.pk, blocks=ContentFile(b"x" * 2000).chunks())
    said = act(admin, "cancel", waiting, busy, done)
    assert said == "Jobs cancelled: 1; running jobs that will stop at the next checkpoint: 1."
    states = dict(Job.objects.values_list("pk", "state"))
    assert states == {waiting.pk: "cancelled", busy.pk: "running", done.pk: "succeeded"}
    assert Job.objects.get(pk=busy.pk).stop == "cancel"
    assert set(JobChunk.objects.values_list("job_id", flat=True)) == {busy.pk}, "a running job still reads its upload"


def test_actions_need_the_change_permission(job_make: Make) -> None:
    dead, waiting = failed(job_make), job_make()
    client = staff("view_job")
    before = list(Job.objects.order_by("pk").values())
    act(client, "retry", dead)
    act(client, "cancel", waiting)
    assert list(Job.objects.order_by("pk").values()) == before
    editor = staff("view_job", "change_job")
    act(editor, "retry", dead)
    act(editor, "cancel", waiting)
    assert dict(Job.objects.values_list("pk", "state")) == {dead.pk: "scheduled", waiting.pk: "cancelled"}
