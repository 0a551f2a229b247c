"""tokens: an ended session is refused wherever it was checked before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission
from django.db import connection, transaction
from django.test import Client, override_settings
from django.utils import timezone

from apps.accounts.models import EndReason, Session, User
from apps.accounts.selectors import sessions
from apps.accounts.selectors.sessions import session_user
from apps.accounts.services.sessions import session_end
from apps.accounts.services.users import user_save
from tests.apps.accounts.factories import bearer, sign_in, user_create
from tests.practices.test_database_failures import second_connection
from tests.practices.tokens_bench import get_me, refresh
from tests.problems import assert_problem
from tests.processes import wait_until

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("token_keys")]
committed = pytest.mark.django_db(transaction=True)  # on_commit runs, and threads see the rows


def test_authorising_is_one_query_and_none_when_cached(pair: Any, django_assert_num_queries: Any) -> None:
    now = timezone.now()
    with override_settings(TOKENS_CHECK_SECONDS=60):
        with django_assert_num_queries(1):
            user = session_user(session_id=pair.session_id, transport=pair.transport, now=now)
        with django_assert_num_queries(0):
            again = session_user(session_id=pair.session_id, transport=pair.transport, now=now)
        assert user is not None
        assert again == user
        assert again is not user
        with django_assert_num_queries(0):
            later = now + timedelta(seconds=settings.TOKENS_SESSION_SECONDS)
            assert session_user(session_id=pair.session_id, transport=pair.transport, now=later) is None
    with override_settings(TOKENS_CHECK_SECONDS=0), django_assert_num_queries(1):
        session_user(session_id=pair.session_id, transport=pair.transport, now=now)


def test_the_user_of_a_session_is_what_the_orm_reads(pair: Any, django_assert_num_queries: Any) -> None:
    with override_settings(TOKENS_CHECK_SECONDS=60):
        user, other = (
            session_user(session_id=pair.session_id, transport=pair.transport, now=timezone.now()) for _ in range(2)
        )
    read = User.objects.get(pk=user.pk)
    known = {field.attname: getattr(user, field.attname) for field in User._meta.concrete_fields}
    assert known == {name: getattr(read, name) for name in known}
    assert type(user) is User
    assert user.get_deferred_fields() == set()  # the hash has been read now
    assert other.get_deferred_fields() == {"password"}
    assert vars(user._state) == vars(read._state)
    assert user._state is not other._state
    user.name = "Changed"
    assert other.name == read.name
    with django_assert_num_queries(1):
        user.save(update_fields=["name"])  # an UPDATE: the row exists
    other.refresh_from_db()
    assert other.name == "Changed"


def test_request_is_two_queries(pair: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        assert get_me(pair.access).status_code == 200


def test_cached_checks_are_bounded(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = sessions._Checks(5)
    monkeypatch.setattr(sessions, "_checks", checks)
    for _ in range(20):
        assert session_user(session_id=uuid4(), transport=pair.transport, now=timezone.now()) is None
    assert len(checks) == 5


def test_names_of_permissions_are_kept_once(settings: Any) -> None:
    """Ten thousand cached checks with forty permissions each would otherwise hold 30 MB of equal names."""
    settings.TOKENS_CHECK_SECONDS = 60
    pairs = [sign_in(user_create(permissions=("accounts.view_user",))) for _ in range(2)]
    assert all(is_active(pair) for pair in pairs)
    names = [sessions._checks.last(pair.session_id).permissions for pair in pairs]
    assert names == [{"accounts.view_user"}] * 2
    assert len({id(name) for found in names for name in found}) == 1


@pytest.fixture
def crowd(settings: Any) -> list[Any]:
    """Return ten sessions in use, whose cached checks have just become too old."""
    settings.TOKENS_CHECK_SECONDS = 60
    pairs = [sign_in(user_create()) for _ in range(10)]
    assert all(is_active(pair) for pair in pairs)
    for check in sessions._checks._cache.values():
        check.began -= 60
    return pairs


def is_active(pair: Any) -> bool:
    return session_user(session_id=pair.session_id, transport=pair.transport, now=timezone.now()) is not None


def test_sessions_in_use_are_checked_together(crowd: list[Any], django_assert_num_queries: Any) -> None:
    Session.objects.filter(pk=crowd[3].session_id).update(ended_at=timezone.now(), ended_reason=EndReason.OWNER)
    User.objects.filter(sessions=crowd[5].session_id).update(is_active=False)
    with django_assert_num_queries(1):
        found = [is_active(pair) for pair in crowd]
    assert [number for number, active in enumerate(found) if not active] == [3, 5]
    with django_assert_num_queries(0):
        assert [is_active(pair) for pair in crowd] == found


def test_idle_sessions_are_not_checked(crowd: list[Any], django_assert_num_queries: Any) -> None:
    for check in sessions._checks._cache.values():
        check.used -= 60
    with django_assert_num_queries(2):
        assert [is_active(pair) for pair in crowd[:2]] == [True, True]


def test_one_query_checks_a_bounded_number(
    crowd: list[Any], monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(sessions, "CHECKED_TOGETHER", 4)
    with django_assert_num_queries(2):
        assert all(is_active(pair) for pair in crowd)


def test_sessions_are_due_for_one_query_alone(crowd: list[Any]) -> None:
    first, *others = [pair.session_id for pair in crowd]
    assert sessions._checks.due(first) == {first, *others}
    assert sessions._checks.due(first) == {first}


def test_permissions_are_those_of_django() -> None:
    group = Group.objects.create(name="readers")
    group.permissions.set(Permission.objects.filter(codename__in=("view_user", "view_securityevent")))
    user = user_create(permissions=("accounts.view_user", "accounts.change_user"))
    user.groups.add(group)
    Group.objects.create(name="others").permissions.set(Permission.objects.filter(codename="delete_user"))
    for each in (user, user_create(), user_create(is_superuser=True)):
        pair = sign_in(each)
        found = session_user(session_id=pair.session_id, transport=pair.transport, now=timezone.now())
        assert found is not None
        assert found.get_all_permissions() == ModelBackend().get_all_permissions(each)
    assert user.get_all_permissions() == {"accounts.view_user", "accounts.change_user", "accounts.view_securityevent"}


@committed
def test_check_that_began_before_the_end_is_not_cached(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request reads the row, the session ends, and only then the request caches what it read."""
    read = sessions._read

    def slowly(session_ids: Any) -> Any:
        row = read(session_ids)
        session_end(session_id=pair.session_id, reason=EndReason.LOGOUT, now=timezone.now())
        return row

    monkeypatch.setattr(sessions, "_read", slowly)
    assert session_user(session_id=pair.session_id, transport=pair.transport, now=timezone.now()) is not None
    monkeypatch.setattr(sessions, "_read", read)
    assert session_user(session_id=pair.session_id, transport=pair.transport, now=timezone.now()) is None


@committed
def test_rolled_back_end_keeps_the_session_active(pair: Any) -> None:
    with transaction.atomic():
        session_end(session_id=pair.session_id, reason=EndReason.LOGOUT, now=timezone.now())
        transaction.set_rollback(True)
    assert get_me(pair.access).status_code == 200


@committed
def test_changed_rights_apply_at_once(client: Client) -> None:
    user = user_create(is_staff=True, permissions=("accounts.view_user",))
    header = bearer(user)
    assert client.get("/api/v1/users", **header).status_code == 200
    user.is_staff = False
    user_save(user=user, fields=("is_staff",))
    assert_problem(client.get("/api/v1/users", **header), 403, "permission-denied")


LEAVING: dict[str, Callable[[Any], Any]] = {
    "logout": lambda pair: Client().post("/api/v1/auth/logout", HTTP_AUTHORIZATION=f"Bearer {pair.access}"),
    "reuse": lambda pair: refresh(pair.refresh, agent="thief/1"),
}


@committed
@pytest.mark.parametrize("end", LEAVING)
def test_parallel_ends_do_not_deadlock(pair: Any, end: str) -> None:
    """A deletion has locked the user and next locks the sessions, while one of those ends by itself."""
    assert refresh(pair.refresh).status_code == 200
    statuses = []

    def leave() -> None:
        try:
            statuses.append(LEAVING[end](pair).status_code)
        finally:
            connection.close()

    with second_connection() as rival:
        rival.execute("SELECT id FROM accounts_user FOR UPDATE")
        leaving = threading.Thread(target=leave)
        leaving.start()
        wait_until(lambda: is_waited_for(rival.info.backend_pid), seconds=10, what="the end to wait for the user")
        rival.execute("SET LOCAL lock_timeout = '2s'")
        rival.execute("SELECT id FROM accounts_session FOR UPDATE")
        rival.commit()
        leaving.join(10)
    assert statuses == [204 if end == "logout" else 401]
    assert Session.objects.get().ended_reason == end


def is_waited_for(backend: int) -> bool:
    """Return whether another connection waits for a lock that this one holds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))", [backend])
        return bool(cursor.fetchone()[0])
