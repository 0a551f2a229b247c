"""The admin: nothing secret on show, and what is changed there obeys the services."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils import timezone

from apps.accounts.admin import SessionAdmin, UserAdmin
from apps.accounts.models import Session, User
from apps.jobs.services import job_submit
from tests.apps.accounts.factories import PASSWORD, admin_sign_in, bearer, sign_in, user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db(transaction=True)
USER = "/admin/accounts/user"
SESSIONS = "/admin/accounts/session"


@pytest.fixture
def desk() -> Client:
    """An administrator's browser."""
    client = Client()
    admin_sign_in(client, user_create(email="root@example.com", is_staff=True, is_superuser=True))
    return client


def fields(user: User, **changes: str) -> dict[str, str]:
    values = {"email": user.email, "name": user.name, "is_active": "on", **changes}
    return {name: value for name, value in values.items() if value}


def test_no_page_shows_a_hash_or_a_tokens_id(desk: Client) -> None:
    user = user_create(name="Ada")
    pair = sign_in(user)
    session = Session.objects.get(pk=pair.session_id)
    pages = [
        f"{USER}/",
        f"{USER}/add/",
        f"{USER}/{user.pk}/change/",
        f"{SESSIONS}/",
        f"{SESSIONS}/{session.pk}/change/",
    ]
    pages += [f"{USER}/{user.pk}/password/", f"{USER}/?q=ada", f"{SESSIONS}/?q=ada"]
    for page in pages:
        response = desk.get(page)
        assert response.status_code == 200, page
        text = response.content.decode()
        for secret in (
            user.password[:30],
            user.password.rpartition("$")[2],
            "argon2",
            str(session.current_id),
            pair.refresh,
        ):
            assert secret not in text, f"{page} shows {secret}"


def test_a_form_that_was_open_meanwhile_undoes_nothing(desk: Client) -> None:
    """The form is checked against the user as it was read; a password set between that and the saving stays."""
    user = user_create(name="Ada")
    load = UserAdmin.get_object

    def overtaken(self: UserAdmin, *arguments: Any, **options: Any) -> User | None:
        found = load(self, *arguments, **options)
        User.objects.filter(pk=user.pk).update(password="set meanwhile", email_verified=True)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UserAdmin, "get_object", overtaken)
        assert desk.post(f"{USER}/{user.pk}/change/", fields(user, name="Grace")).status_code == 302
    user.refresh_from_db()
    assert (user.name, user.password) == ("Grace", "set meanwhile")


@pytest.mark.parametrize("form", ["change", "password"])
def test_a_form_of_an_account_that_has_gone_meanwhile_is_not_found(desk: Client, form: str) -> None:
    user = user_create()
    body = {**fields(user, name="Grace"), "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    load = UserAdmin.get_object

    def overtaken(self: UserAdmin, *arguments: Any, **options: Any) -> User | None:
        found = load(self, *arguments, **options)
        User.objects.filter(pk=user.pk).delete()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UserAdmin, "get_object", overtaken)
        assert desk.post(f"{USER}/{user.pk}/{form}/", body).status_code == 404


def test_saving_a_sign_in_brings_none_back(desk: Client) -> None:
    session = Session.objects.get(pk=sign_in(user_create()).session_id)
    load = SessionAdmin.get_object

    def overtaken(self: SessionAdmin, *arguments: Any, **options: Any) -> Session | None:
        found = load(self, *arguments, **options)
        Session.objects.filter(pk=session.pk).update(ended_at=timezone.now(), ended_reason="logout")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SessionAdmin, "get_object", overtaken)
        assert desk.post(f"{SESSIONS}/{session.pk}/change/", {}).status_code == 302
    session.refresh_from_db()
    assert session.ended_at is not None


def test_what_the_admin_saves_is_normalised_and_clean(desk: Client) -> None:
    user = user_create()
    answer = desk.post(f"{USER}/{user.pk}/change/", fields(user, email="ADA@Example.com", name="Ade\u0301le"))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    user.refresh_from_db()
    assert (user.email, user.name) == ("ada@example.com", "Adéle")
    answer = desk.post(f"{USER}/{user.pk}/change/", fields(user, name="a\u202eb"))
    assert answer.status_code == 200
    user.refresh_from_db()
    assert user.name == "Adéle"


def test_an_address_taken_in_another_case_is_a_form_error(desk: Client) -> None:
    user_create(email="ada@example.com")
    user = user_create()
    answer = desk.post(f"{USER}/{user.pk}/change/", fields(user, email="ADA@example.com"))
    assert answer.status_code == 200
    assert "already exists" in answer.content.decode()


def test_an_address_that_the_api_refuses_is_a_form_error(desk: Client) -> None:
    """A dotless i folds to an ASCII one, and nobody could sign in with it."""
    user = user_create()
    answer = desk.post(f"{USER}/{user.pk}/change/", fields(user, email="\u0131da@example.com"))
    assert answer.status_code == 200
    assert "Enter a valid email address." in answer.content.decode()
    body = {"email": "\u0131da@example.com", "name": "Ida", "usable_password": "false"}
    assert "Enter a valid email address." in desk.post(f"{USER}/add/", body).content.decode()
    assert not User.objects.filter(email__endswith="da@example.com").exists()


@pytest.mark.parametrize("box", ["is_active", "is_superuser"])
def test_the_last_administrator_keeps_the_right_to_give_rights(desk: Client, box: str) -> None:
    root = User.objects.get(email="root@example.com")
    rights = {"is_staff": "on", "is_superuser": "on"}
    answer = desk.post(f"{USER}/{root.pk}/change/", fields(root, **{**rights, box: ""}))
    assert answer.status_code == 200
    assert "Make another account a superuser first" in answer.content.decode()
    other = user_create(is_staff=True, is_superuser=True)
    assert desk.post(f"{USER}/{other.pk}/change/", fields(other, **{**rights, box: ""})).status_code == 302
    root.refresh_from_db()
    other.refresh_from_db()
    assert (getattr(root, box), getattr(other, box)) == (True, False)


def test_a_user_is_added_with_a_password_that_works(desk: Client, client: Client) -> None:
    body = {
        "email": "New@Example.com",
        "name": "New",
        "usable_password": "true",
        "password1": PASSWORD,
        "password2": PASSWORD,
    }
    assert desk.post(f"{USER}/add/", body).status_code == 302
    login = {"email": "new@example.com", "password": PASSWORD}
    assert client.post("/api/v1/auth/login", login, content_type="application/json").status_code == 200


def test_unticking_active_ends_every_sign_in_at_once(desk: Client, client: Client) -> None:
    user = user_create()
    header = bearer(user)
    assert client.get("/api/v1/me", **header).status_code == 200
    assert desk.post(f"{USER}/{user.pk}/change/", fields(user, is_active="")).status_code == 302
    assert_problem(client.get("/api/v1/me", **header), 401, "token-refused")
    assert set(Session.objects.filter(user=user).values_list("ended_reason", flat=True)) == {"account"}


def test_a_new_password_ends_every_sign_in_and_shows_in_lists(desk: Client, client: Client) -> None:
    user = user_create()
    header = bearer(user)
    assert client.get("/api/v1/me", **header).status_code == 200
    new = "an entirely different one"
    body = {"usable_password": "true", "password1": new, "password2": new}
    assert desk.post(f"{USER}/{user.pk}/password/", body).status_code == 302
    assert_problem(client.get("/api/v1/me", **header), 401, "token-refused")
    user.refresh_from_db()
    assert user.check_password(new)
    body = {"usable_password": "false", "password1": "", "password2": "", "unset-password": "yes"}
    assert desk.post(f"{USER}/{user.pk}/password/", body).status_code == 302
    user.refresh_from_db()
    assert not user.has_usable_password()


def test_the_actions_end_sign_ins(desk: Client, client: Client) -> None:
    one, other = user_create(), user_create()
    headers = [bearer(one), bearer(other)]
    session = Session.objects.get(user=one)
    assert [client.get("/api/v1/me", **header).status_code for header in headers] == [200, 200]
    answer = desk.post(f"{SESSIONS}/", {"action": "end_selected", "_selected_action": [str(session.pk)]}, follow=True)
    assert "Sessions ended: 1." in answer.content.decode()
    assert [client.get("/api/v1/me", **header).status_code for header in headers] == [401, 200]
    desk.post(f"{USER}/", {"action": "end_sessions", "_selected_action": [str(other.pk)]})
    assert client.get("/api/v1/me", **headers[1]).status_code == 401
    ended = Session.objects.filter(user__in=[one, other])
    assert set(ended.values_list("ended_reason", flat=True)) == {"admin"}


def test_sign_ins_are_neither_added_nor_edited_nor_deleted(desk: Client) -> None:
    session_id = sign_in(user_create()).session_id
    assert desk.get(f"{SESSIONS}/add/").status_code == 403
    assert desk.post(f"{SESSIONS}/{session_id}/delete/", {"post": "yes"}).status_code == 403
    desk.post(f"{SESSIONS}/{session_id}/change/", {"device": "changed", "address": "198.51.100.1"})
    assert Session.objects.get(pk=session_id).device == "test"


def test_deleting_a_user_in_the_admin_ends_what_was_open(desk: Client, client: Client) -> None:
    user = user_create()
    header = bearer(user)
    assert client.get("/api/v1/me", **header).status_code == 200
    assert desk.post(f"{USER}/{user.pk}/delete/", {"post": "yes"}).status_code == 302
    assert_problem(client.get("/api/v1/me", **header), 401, "token-refused")


@pytest.fixture
def helper() -> Client:
    """The browser of somebody who may look after users, and no more."""
    user = user_create(email="helper@example.com", is_staff=True)
    names = ("view_user", "change_user", "delete_user", "view_session", "change_session")
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts", codename__in=names))
    client = Client()
    admin_sign_in(client, user)
    return client


def test_only_administrators_hand_out_rights(helper: Client) -> None:
    user = user_create()
    group = Group.objects.create(name="editors")
    permission = Permission.objects.get(codename="change_job")
    rights = {"is_staff": "on", "is_superuser": "on", "groups": str(group.pk), "user_permissions": str(permission.pk)}
    answer = helper.post(f"{USER}/{user.pk}/change/", fields(user, name="New", **rights))
    assert answer.status_code == 302
    user.refresh_from_db()
    assert user.name == "New"
    assert (user.is_staff, user.is_superuser) == (False, False)
    assert not user.groups.exists()
    assert not user.user_permissions.exists()


def test_only_administrators_write_groups(helper: Client, desk: Client) -> None:
    """Who may change a group that they are in could give it, and so themselves, every right."""
    user, page = User.objects.get(email="helper@example.com"), "/admin/auth/group"
    group = Group.objects.create(name="editors")
    user.groups.add(group)
    user.user_permissions.add(*Permission.objects.filter(content_type__model="group"))
    every = {"name": "editors", "permissions": [str(one.pk) for one in Permission.objects.all()]}
    assert helper.post(f"{page}/{group.pk}/change/", every).status_code == 403
    assert helper.post(f"{page}/add/", {**every, "name": "more"}).status_code == 403
    assert helper.post(f"{page}/{group.pk}/delete/", {"post": "yes"}).status_code == 403
    helper.post(f"{page}/", {"action": "delete_selected", "_selected_action": str(group.pk), "post": "yes"})
    assert [one.name for one in Group.objects.all()] == ["editors"]
    assert not group.permissions.exists()
    assert helper.get(f"{page}/{group.pk}/change/").status_code == 200  # to look at
    assert desk.post(f"{page}/{group.pk}/change/", every).status_code == 302
    assert group.permissions.exists()


@pytest.mark.parametrize("level", ["is_staff", "is_superuser"])
def test_only_administrators_touch_accounts_with_rights(helper: Client, level: str) -> None:
    user = user_create(**{level: True})
    new = {"usable_password": "true", "password1": "an entirely new one", "password2": "an entirely new one"}
    assert helper.post(f"{USER}/{user.pk}/password/", new).status_code == 403
    assert helper.post(f"{USER}/{user.pk}/change/", fields(user, email="mine@example.com")).status_code == 403
    assert helper.post(f"{USER}/{user.pk}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": str(user.pk), "post": "yes"}
    helper.post(f"{USER}/", chosen)
    stored = User.objects.get(pk=user.pk)
    assert stored.check_password(PASSWORD)
    assert stored.email == user.email


@pytest.mark.parametrize(("page", "action"), [(USER, "end_sessions"), (SESSIONS, "end_selected")])
def test_only_administrators_sign_out_accounts_with_rights(
    helper: Client, client: Client, page: str, action: str
) -> None:
    users = [user_create(is_superuser=True), user_create(is_staff=True), user_create()]
    headers = [bearer(user) for user in users]
    model = User.objects if page == USER else Session.objects
    chosen = [str(row.pk) for row in model.all() if getattr(row, "user", row) in users]
    said = helper.post(f"{page}/", {"action": action, "_selected_action": chosen}, follow=True).content.decode()
    assert "Sessions ended: 1." in said
    assert "Skipped: 2." in said
    assert [client.get("/api/v1/me", **header).status_code for header in headers] == [200, 200, 401]


def test_a_user_is_deleted_with_all_that_goes_with_it(desk: Client) -> None:
    user = user_create()
    job_submit(kind="sample.count", owner=user, parameters={"seconds": 0})
    assert desk.post(f"{USER}/{user.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=user.pk).exists()
