"""Deletion: no table keeps data of the user, and nothing that runs in parallel leaves any behind."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session as BrowserSession
from django.db import connection
from django.test import Client
from django.utils import timezone
from psycopg.errors import ForeignKeyViolation

from apps.accounts.models import AttemptCount, LinkPurpose, SecurityEvent, Session, Transport, User
from apps.accounts.services.attempts import AttemptPurpose, attempt_begin
from apps.accounts.services.mails import Mail, mail_submit
from apps.jobs.models import Job, JobChunk
from apps.jobs.services import job_submit
from apps.jobs.services.files import result_append
from apps.jobs.tasks import job_run
from tests.apps.accounts.factories import PASSWORD, admin_sign_in, bearer, link, sign_in, user_create
from tests.apps.accounts.test_me import NEW, delete
from tests.practices.test_database_failures import second_connection
from tests.problems import assert_problem
from tests.processes import wait_until
from tests.races import at_once, in_thread
from tests.sample.models import Note
from tests.sample.services import note_create

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)  # on_commit callbacks run
LATE = """
INSERT INTO sample_note (id, title, body, owner_id, published, version, created_at, updated_at)
VALUES (gen_random_uuid(), 'late', '', %s, true, 1, now(), now())
"""

BLOCK = "INSERT INTO jobs_jobchunk (job_id, purpose, number, data) VALUES (%s, 'result', 0, 'late')"


@pytest.fixture(autouse=True)
def _two_users_a_request(settings: Any) -> None:
    """Allow the admin to read two users and two sessions, which is no N + 1."""
    settings.ZEAL_ALLOWLIST = [{"model": model, "field": "get()"} for model in ("accounts.User", "sessions.Session")]


def everything_of(user: User) -> None:
    """Store data of the user in every table that can hold some."""
    now = timezone.now()
    admin = user_create(is_staff=True, is_superuser=True)
    kind = ContentType.objects.get_for_model(User)
    note_create(owner=user, title="Note")
    group = Group.objects.create(name="Editors")
    user.groups.add(group)
    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    for transport in Transport:
        sign_in(user, transport=transport)
    link(user, LinkPurpose.VERIFY_EMAIL)
    for purpose in AttemptPurpose:
        attempt_begin(purpose=purpose, email=user.email)
    job = job_submit(kind="sample.count", owner=user, parameters={"seconds": 0})
    Job.objects.filter(pk=job.pk).update(state="succeeded", finished_at=now, result={"by": user.email})
    result_append(job_id=job.pk, data=f'{{"of":"account","row":{{"email":"{user.email}"}}}}\n'.encode())
    job_submit(kind="sample.count", owner=user, parameters={"seconds": 0})
    mail_submit(template=Mail.RESET_PASSWORD, address=user.email)
    mail_submit(template=Mail.CHANGE_EMAIL, user_id=user.pk, address=NEW, requester=user)
    mail_submit(template=Mail.PASSWORD_CHANGED, user_id=user.pk)
    Job.objects.filter(parameters__template="password-changed").update(state="discarded", finished_at=now)
    for who, what in ((admin, user), (user, admin)):
        LogEntry.objects.create(
            user=who, content_type=kind, object_id=str(what.pk), object_repr=str(what), action_flag=CHANGE
        )
    admin_sign_in(Client(), user)
    admin_sign_in(Client(), admin)


def traces(*words: str) -> list[str]:
    """Return the rows of all tables with one of the words, as text or bytes; Django sessions are decoded."""
    wanted = [form for word in words for form in (word.lower(), word.encode().hex(), word.lower().encode().hex())]
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT t::text FROM {connection.ops.quote_name(table)} AS t")
            found += [
                f"{table}: {row[:200]}" for (row,) in cursor.fetchall() if any(form in row.lower() for form in wanted)
            ]
    opened = [str(session.get_decoded()).lower() for session in BrowserSession.objects.all()]
    return found + [f"session: {one}" for one in opened if any(form in one for form in wanted)]


@pytest.fixture
def gone() -> User:
    """Return a user with data in every table."""
    user = user_create(email="ada.lovelace@example.com", name="Ada King Lovelace", is_staff=True)
    everything_of(user)
    user.refresh_from_db()
    return user


def words_of(user: User) -> tuple[str, ...]:
    return (user.email, user.name, str(user.pk), user.pk.hex, NEW)


def delete_oneself(user: User) -> None:
    assert delete(Client(), {"password": PASSWORD}, bearer(user)).status_code == 204


def delete_by_admin(user: User) -> None:
    admin_browser = Client()
    admin_sign_in(admin_browser, User.objects.get(is_superuser=True))
    assert admin_browser.post(f"/admin/accounts/user/{user.pk}/delete/", {"post": "yes"}).status_code == 302


def delete_as_one_of_some(user: User) -> None:
    admin_browser = Client()
    admin_sign_in(admin_browser, User.objects.get(is_superuser=True))
    chosen = {"action": "delete_selected", "_selected_action": [str(user.pk)], "post": "yes"}
    assert admin_browser.post("/admin/accounts/user/", chosen).status_code == 302


@pytest.mark.parametrize("way", [delete_oneself, delete_by_admin, delete_as_one_of_some])
def test_no_table_holds_a_deleted_user(way: Callable[[User], None], gone: User, mailoutbox: list[Any]) -> None:
    words = words_of(gone)
    held = {line.partition(":")[0] for line in traces(*words)}
    assert held >= {
        *("accounts_user", "accounts_user_groups", "accounts_user_user_permissions", "accounts_session"),
        *("accounts_securityevent", "accounts_accountlink", "jobs_job", "jobs_jobchunk", "sample_note"),
        *("django_admin_log", "session"),
    }
    assert AttemptCount.objects.exists()
    others = BrowserSession.objects.count() - 1

    way(gone)
    notice = Job.objects.get()  # the only one left
    assert notice.parameters == {"template": "account-deleted", "address": gone.email}
    job_run(str(notice.pk))

    assert traces(*words) == []
    assert not AttemptCount.objects.exists()
    assert not JobChunk.objects.exists()
    assert BrowserSession.objects.count() >= others, "a session of another user was deleted"
    event = SecurityEvent.objects.get(kind="deleted")
    assert (event.user_id, event.session_id, event.address, event.device) == (None, None, "", "")
    assert event.detail == {"by": "owner" if way is delete_oneself else "administrator"}
    assert set(LogEntry.objects.values_list("object_repr", flat=True)) == {"a deleted account"}
    [mail] = mailoutbox
    assert mail.to == [gone.email]
    assert gone.name not in mail.body


def test_other_users_keep_their_data(client: Client) -> None:
    user, other = user_create(), user_create()
    note_create(owner=other, title="Kept")
    sign_in(other)
    job_submit(kind="sample.count", owner=other, parameters={"seconds": 0})
    mail_submit(template=Mail.PASSWORD_CHANGED, user_id=other.pk)
    mail_submit(template=Mail.RESET_PASSWORD, address=other.email)
    attempt_begin(purpose=AttemptPurpose.SIGN_IN, email=other.email)
    assert delete(client, {"password": PASSWORD}, bearer(user)).status_code == 204
    assert (Note.objects.count(), Session.objects.count(), Job.objects.count()) == (1, 1, 4)
    assert AttemptCount.objects.count() == 1
    assert SecurityEvent.objects.filter(user=other).exists()


# --- The last superuser.


def test_last_superuser_cannot_be_deleted(client: Client) -> None:
    user_create(is_superuser=True, is_active=False)
    admin = user_create(is_staff=True, is_superuser=True)
    header = bearer(admin)
    assert_problem(delete(client, {"password": PASSWORD}, header), 409, "last-administrator")
    admin_browser = Client()
    admin_sign_in(admin_browser, admin)
    everybody = [str(pk) for pk in User.objects.values_list("pk", flat=True)]
    for path, chosen in (
        (f"/admin/accounts/user/{admin.pk}/delete/", {}),
        ("/admin/accounts/user/", {"action": "delete_selected", "_selected_action": everybody}),
    ):
        assert (
            "This is the only active superuser" in admin_browser.post(path, {"post": "yes", **chosen}).content.decode()
        )
    assert User.objects.count() == 2
    assert not LogEntry.objects.exists(), "the admin's log tells of a deletion that was refused"
    user_create(is_superuser=True)
    assert delete(client, {"password": PASSWORD}, header).status_code == 204


@committed
def test_one_of_two_parallel_superusers_stays() -> None:
    headers = [bearer(user_create(is_superuser=True)) for _ in range(2)]
    answers = at_once(2, lambda number: delete(Client(), {"password": PASSWORD}, headers[number]))
    assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert User.objects.filter(is_superuser=True).count() == 1


# --- Deletion in parallel with other work.


@committed
def test_row_inserted_during_deletion_is_deleted() -> None:
    """Deletion waits for a job that has written but not committed, then deletes what it wrote."""
    user = user_create()
    job = job_submit(kind="sample.count", owner=user, parameters={"seconds": 0})
    header = bearer(user)
    with second_connection() as rival, ThreadPoolExecutor(1) as threads:
        rival.execute("BEGIN")
        rival.execute(LATE, [user.pk])
        rival.execute("UPDATE jobs_job SET progress_done = 1 WHERE id = %s", [job.pk])
        deleting = threads.submit(in_thread, delete, Client(), {"password": PASSWORD}, header)
        waiting_for_locks(1)
        rival.execute("COMMIT")
        assert deleting.result(30).status_code == 204
    assert not Note.objects.exists()
    assert not User.objects.exists()


@committed
def test_job_chunk_added_during_deletion_is_deleted() -> None:
    user = user_create()
    job = job_submit(kind="sample.count", owner=user, parameters={"seconds": 0})
    header = bearer(user)
    with second_connection() as rival, ThreadPoolExecutor(1) as threads:
        rival.execute(BLOCK, [job.pk])
        rival.execute("UPDATE jobs_job SET progress_done = 1 WHERE id = %s", [job.pk])
        deleting = threads.submit(in_thread, delete, Client(), {"password": PASSWORD}, header)
        waiting_for_locks(1)
        rival.commit()
        assert deleting.result(30).status_code == 204
    assert not User.objects.exists()
    assert not JobChunk.objects.exists()


@committed
def test_job_submitted_during_deletion_is_deleted() -> None:
    """Otherwise its worker could run between the removal of jobs and the commit."""
    user = user_create()
    job = job_submit(kind="sample.count", owner=user_create(), parameters={"seconds": 0})
    header = bearer(user)
    with second_connection() as rival, ThreadPoolExecutor(1) as threads:
        rival.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"jobs of {user.pk}"])
        deleting = threads.submit(in_thread, delete, Client(), {"password": PASSWORD}, header)
        waiting_for_locks(1)
        rival.execute("UPDATE jobs_job SET owner_id = %s WHERE id = %s", [user.pk, job.pk])
        rival.commit()
        assert deleting.result(30).status_code == 204
    assert not User.objects.filter(pk=user.pk).exists()
    assert not Job.objects.filter(pk=job.pk).exists()


@committed
def test_second_parallel_deletion_is_401() -> None:
    user = user_create()
    header = bearer(user)
    with second_connection() as holder, ThreadPoolExecutor(2) as threads:
        holder.execute("SELECT FROM accounts_user WHERE id = %s FOR NO KEY UPDATE", [user.pk])
        asked = [threads.submit(in_thread, delete, Client(), {"password": PASSWORD}, header) for _ in range(2)]
        waiting_for_locks(2)
        holder.commit()
        answers = sorted((one.result(30) for one in asked), key=lambda answer: answer.status_code)
    assert answers[0].status_code == 204
    assert_problem(answers[1], 401, "token-refused")


@committed
def test_deletion_blocks_new_references() -> None:
    """While deletion waits for a lock on a row that it has found, inserts that refer to the user are refused."""
    user = user_create()
    note = note_create(owner=user, title="Found")
    header = bearer(user)
    with second_connection() as holder, second_connection() as rival, ThreadPoolExecutor(2) as threads:
        holder.execute("SELECT FROM sample_note WHERE id = %s FOR UPDATE", [note.pk])
        deleting = threads.submit(in_thread, delete, Client(), {"password": PASSWORD}, header)
        waiting_for_locks(1)
        rival.execute(LATE, [user.pk])
        coming = threads.submit(rival.commit)
        waiting_for_locks(2)
        holder.commit()
        assert deleting.result(30).status_code == 204
        with pytest.raises(ForeignKeyViolation):
            coming.result(30)
    assert not Note.objects.exists()


@committed
def test_insert_after_deletion_is_refused() -> None:
    """A request that has written and commits after deletion fails, and leaves nothing behind."""
    user = user_create()
    header = bearer(user)
    with second_connection() as rival:
        rival.execute("BEGIN")
        rival.execute(LATE, [user.pk])
        assert delete(Client(), {"password": PASSWORD}, header).status_code == 204
        with pytest.raises(ForeignKeyViolation):
            rival.execute("COMMIT")
    assert not Note.objects.exists()


@committed
def test_login_refresh_and_deletion_do_not_deadlock() -> None:
    for _ in range(5):
        user = user_create()
        header, pairs = bearer(user), [sign_in(user) for _ in range(4)]
        login = {"email": user.email, "password": PASSWORD}
        calls = [
            *(("/api/v1/auth/refresh", {"refresh": pair.refresh}, {}) for pair in pairs),
            ("/api/v1/auth/login", login, {}),
            (
                "/api/v1/auth/password/change",
                {"current_password": PASSWORD, "new_password": "an entirely different one"},
                header,
            ),
            ("/api/v1/auth/logout", None, header),
        ]

        def ask(number: int, calls: list[Any] = calls, header: dict[str, str] = header) -> int:
            if number == len(calls):
                return int(delete(Client(), {"password": PASSWORD}, header).status_code)
            path, body, headers = calls[number]
            return int(Client().post(path, body, content_type="application/json", **headers).status_code)

        *statuses, left = at_once(len(calls) + 1, ask)
        assert left in (204, 401), "overtaken by the change of password or the sign-out, or carried out"
        assert set(statuses) <= {200, 204, 401}, statuses
        assert User.objects.filter(pk=user.pk).exists() is (left == 401)


def waiting_for_locks(count: int) -> None:
    """Return once this many connections wait for a lock."""

    def waiting() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            return bool(cursor.fetchone()[0] == count)

    wait_until(waiting, seconds=10, what=f"{count} who wait for a lock")
