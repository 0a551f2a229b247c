"""The export has all data of the user, no data of others, and no credentials."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group
from django.test import Client

from apps.accounts.models import AccountLink, LinkPurpose, Session, User
from apps.accounts.services.exports import export_submit
from apps.jobs.context import JobStopped
from apps.jobs.models import CHUNK_BYTES, Job, JobChunk
from apps.jobs.services.purge import jobs_purge
from apps.jobs.tasks import job_run
from apps.practices.privacy.personal import PersonalData, personal_data
from tests.apps.accounts.factories import bearer, link, sign_in, user_create
from tests.problems import assert_problem
from tests.races import at_once
from tests.sample.models import BODY_LENGTH, Note
from tests.sample.services import note_create

pytestmark = pytest.mark.django_db
EXPORT = "/api/v1/me/export"


def submit(client: Client, header: dict[str, str]) -> Any:
    return client.generic("POST", EXPORT, content_type="", **header)


def exported(client: Client, header: dict[str, str]) -> tuple[dict[str, Any], bytes]:
    """Run an export, and return the job and the file as the user reads them."""
    accepted = submit(client, header)
    assert accepted.status_code == 202
    job_run(accepted.json()["id"])
    job = client.get(accepted.headers["Location"], **header).json()
    assert job["state"] == "succeeded"
    answer = client.get(job["result_url"], **header)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="account.ndjson"'
    return job, b"".join(answer.streaming_content)


def rows_of(file: bytes) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in file.splitlines():
        entry = json.loads(line)
        assert set(entry) == {"of", "row"}
        found.setdefault(entry["of"], []).append(entry["row"])
    return found


@pytest.fixture
def ada() -> User:
    user = user_create(name="Ada", is_staff=True, permissions=("jobs.view_job",))
    user.groups.add(Group.objects.create(name="Editors"))
    note_create(owner=user, title="Élan", published=False)
    link(user, LinkPurpose.CHANGE_EMAIL, email="b@example.com")
    LogEntry.objects.create(user=user, object_repr="somebody@example.com", action_flag=CHANGE)
    return user


def test_export_has_all_of_the_users_data_only(client: Client, ada: User) -> None:
    other = user_create(name="Other")
    note_create(owner=other, title="Theirs")
    sign_in(other)
    header = bearer(ada)
    job, file = exported(client, header)
    rows = rows_of(file)
    assert job["result"] == {"rows": {name: len(found) for name, found in rows.items()}}
    [account] = rows["account"]
    assert (account["id"], account["email"], account["name"]) == (str(ada.pk), ada.email, "Ada")
    assert rows["groups"] == [{"group.name": "Editors"}]
    assert [row["permission.codename"] for row in rows["permissions"]] == ["view_job"]
    assert [(row["title"], row["published"]) for row in rows["sample.notes"]] == [("Élan", False)]
    assert [row["email"] for row in rows["links"]] == ["b@example.com"]
    assert [row["device"] for row in rows["sessions"]] == ["test"]
    assert {row["kind"] for row in rows["security-events"]} >= {"sign-in"}
    assert [row["id"] for row in rows["jobs"]] == [job["id"]]
    for foreign in (other.email, str(other.pk), "Theirs", "somebody@example.com"):
        assert foreign not in file.decode()


def test_export_has_no_credentials(client: Client, ada: User) -> None:
    _, file = exported(client, bearer(ada))
    session = Session.objects.get(user=ada)
    link = AccountLink.objects.get(user=ada)
    secrets = [ada.password, str(session.current_id), session.signed_by, bytes(link.digest).hex(), "argon2", "$"]
    assert [secret for secret in secrets if secret in file.decode()] == []


def test_declarations_name_no_secrets() -> None:
    secret = {"password", "current_id", "previous_id", "signed_by", "digest", "error", "session_data"}
    named = {(data.name, field) for data in personal_data() for field in data.fields}
    assert {(name, field) for name, field in named if secret & set(field.split("__"))} == set()


def test_one_export_and_one_file_per_user(client: Client, ada: User) -> None:
    header = bearer(ada)
    first = submit(client, header).json()["id"]
    problem = assert_problem(submit(client, header), 409, "export-under-way")
    assert first in problem["detail"]
    assert submit(client, bearer(user_create())).status_code == 202, "another's is another matter"
    job_run(first)
    assert JobChunk.objects.filter(job=first).exists()
    second = submit(client, header).json()["id"]
    assert [str(job.pk) for job in Job.objects.filter(owner=ada)] == [second]
    assert not JobChunk.objects.filter(job=first).exists()
    assert client.get(f"/api/v1/jobs/{first}", **header).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_one_of_many_parallel_requests_gets_an_export() -> None:
    header = bearer(user_create())
    answers = at_once(6, lambda _: submit(Client(), header))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 409: 5}


def test_export_takes_no_parameters(client: Client, ada: User) -> None:
    answer = client.post(EXPORT, {"of": "everybody"}, content_type="application/json", **bearer(ada))
    assert_problem(answer, 400, "validation", pointer="/of")


def test_repeated_attempt_rewrites_the_file(client: Client, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    header = bearer(ada)
    job = export_submit(user=ada)
    monkeypatch.setattr("apps.accounts.services.exports.CHUNK_BYTES", 1)  # each row is stored at once
    whole = PersonalData.rows

    def stopped(self: PersonalData, *, user_id: object) -> Any:
        if self.name == "sessions":
            raise JobStopped("release")
        return whole(self, user_id=user_id)

    with monkeypatch.context() as patch:
        patch.setattr(PersonalData, "rows", stopped)
        job_run(str(job.pk))
    assert JobChunk.objects.filter(job=job).exists()
    job_run(str(job.pk))
    answer = client.get(f"/api/v1/jobs/{job.pk}/result", **header)
    rows = rows_of(b"".join(answer.streaming_content))
    assert [len(rows[name]) for name in ("account", "groups", "sessions")] == [1, 1, 1]


def test_export_of_a_deleted_account_stores_nothing(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    job = export_submit(user=ada)
    whole = PersonalData.rows

    def leaving(self: PersonalData, *, user_id: object) -> Any:
        jobs_purge(owner_id=ada.pk)
        return whole(self, user_id=user_id)

    monkeypatch.setattr(PersonalData, "rows", leaving)
    job_run(str(job.pk))
    assert not JobChunk.objects.exists()


def test_export_is_streamed(client: Client) -> None:
    user = user_create()
    notes = 1_500
    Note.objects.bulk_create(
        [Note(owner=user, title=str(number), body="x" * BODY_LENGTH) for number in range(notes)], batch_size=100
    )
    job = export_submit(user=user)
    tracemalloc.start()
    try:
        job_run(str(job.pk))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    sizes = list(JobChunk.objects.filter(job=job).order_by("number").values_list("data", flat=True))
    whole = sum(map(len, sizes))
    assert whole > notes * BODY_LENGTH  # 30 MB
    assert max(map(len, sizes)) <= CHUNK_BYTES
    rows = rows_of(b"".join(map(bytes, sizes)))
    assert {row["title"] for row in rows["sample.notes"]} == {str(number) for number in range(notes)}
    assert peak < whole / 2, f"{peak / 1e6:.1f} MB at its peak for {whole / 1e6:.1f} MB"
