"""The admin shows no secrets, and changes go through the services."""

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
def admin_browser() -> Client:
    """Return a superuser's browser."""
    client = Client()
    admin_sign_in(client, user_create(email="root@example.com", is_staff=True, is_superuser=True))
    return client


def fields(user: User, **changes: str) -> dict[str, str]:
    values = {"email": user.email, "name": user.name, "is_active": "on", **changes}
    return {name: value for name, value in values.items() if value}


def test_pages_show_no_hashes_or_token_ids(admin_browser: Client) -> None:
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
        response = admin_browser.get(page)
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


def test_stale_form_keeps_a_new_password(admin_browser: Client) -> None:
    """A password that is set after the form has read the user is kept."""
    user = user_create(name="Ada")
    load = UserAdmin.get_object

    def overtaken(self: UserAdmin, *arguments: Any, **options: Any) -> User | None:
        found = load(self, *arguments, **options)
        User.objects.filter(pk=user.pk).update(password="set by another", email_verified=True)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UserAdmin, "get_object", overtaken)
        assert admin_browser.post(f"{USER}/{user.pk}/change/", fields(user, name="Grace")).status_code == 302
    user.refresh_from_db()
    assert (user.name, user.password) == ("Grace", "set by another")


@pytest.mark.parametrize("form", ["change", "password"])
def test_form_of_a_deleted_account_is_404(admin_browser: Client, form: str) -> None:
    user = user_create()
    body = {**fields(user, name="Grace"), "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    load = UserAdmin.get_object

    def overtaken(self: UserAdmin, *arguments: Any, **options: Any) -> User | None:
        found = load(self, *arguments, **options)
        User.objects.filter(pk=user.pk).delete()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UserAdmin, "get_object", overtaken)
        assert admin_browser.post(f"{USER}/{user.pk}/{form}/", body).status_code == 404


def test_saving_a_session_does_not_reactivate_it(admin_browser: Client) -> None:
    session = Session.objects.get(pk=sign_in(user_create()).session_id)
    load = SessionAdmin.get_object

    def overtaken(self: SessionAdmin, *arguments: Any, **options: Any) -> Session | None:
        found = load(self, *arguments, **options)
        Session.objects.filter(pk=session.pk).update(ended_at=timezone.now(), ended_reason="logout")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SessionAdmin, "get_object", overtaken)
        assert admin_browser.post(f"{SESSIONS}/{session.pk}/change/", {}).status_code == 302
    session.refresh_from_db()
    assert session.ended_at is not None


def test_admin_input_is_normalised_and_cleaned(admin_browser: Client) -> None:
    user = user_create()
    answer = admin_browser.post(f"{USER}/{user.pk}/change/", fields(user, email="ADA@Example.com", name="Ade\u0301le"))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    user.refresh_from_db()
    assert (user.email, user.name) == ("ada@example.com", "Adéle")
    answer = admin_browser.post(f"{USER}/{user.pk}/change/", fields(user, name="a\u202eb"))
    assert answer.status_code == 200
    user.refresh_from_db()
    assert user.name == "Adéle"


def test_taken_address_in_another_case_is_a_form_error(admin_browser: Client) -> None:
    user_create(email="ada@example.com")
    user = user_create()
    answer = admin_browser.post(f"{USER}/{user.pk}/change/", fields(user, email="ADA@example.com"))
    assert answer.status_code == 200
    assert "already exists" in answer.content.decode()


def test_invalid_address_is_a_form_error(admin_browser: Client) -> None:
    """A dotless i becomes an ASCII one in upper case, so nobody could sign in with it."""
    user = user_create()
    answer = admin_browser.post(f"{USER}/{user.pk}/change/", fields(user, email="\u0131da@example.com"))
    assert answer.status_code == 200
    assert "Enter a valid email address." in answer.content.decode()
    body = {"email": "\u0131da@example.com", "name": "Ida", "usable_password": "false"}
    assert "Enter a valid email address." in admin_browser.post(f"{USER}/add/", body).content.decode()
    assert not User.objects.filter(email__endswith="da@example.com").exists()


@pytest.mark.parametrize("box", ["is_active", "is_superuser"])
def test_last_superuser_cannot_be_demoted(admin_browser: Client, box: str) -> None:
    root = User.objects.get(email="root@example.com")
    rights = {"is_staff": "on", "is_superuser": "on"}
    answer = admin_browser.post(f"{USER}/{root.pk}/change/", fields(root, **{**rights, box: ""}))
    assert answer.status_code == 200
    assert "Make another account a superuser first" in answer.content.decode()
    other = user_create(is_staff=True, is_superuser=True)
    assert admin_browser.post(f"{USER}/{other.pk}/change/", fields(other, **{**rights, box: ""})).status_code == 302
    root.refresh_from_db()
    other.refresh_from_db()
    assert (getattr(root, box), getattr(other, box)) == (True, False)


def test_added_user_can_sign_in(admin_browser: Client, client: Client) -> None:
    body = {
        "email": "New@Example.com",
        "name": "New",
        "usable_password": "true",
        "password1": PASSWORD,
        "password2": PASSWORD,
    }
    assert admin_browser.post(f"{USER}/add/", body).status_code == 302
    login = {"email": "new@example.com", "password": PASSWORD}
    assert client.post("/api/v1/auth/login", login, content_type="application/json").status_code == 200


def test_deactivating_a_user_ends_all_sessions(admin_browser: Client, client: Client) -> None:
    user = user_create()
    header = bearer(user)
    assert client.get("/api/v1/me", **header).status_code == 200
    assert admin_browser.post(f"{USER}/{user.pk}/change/", fields(user, is_active="")).status_code == 302
    assert_problem(client.get("/api/v1/me", **header), 401, "token-refused")
    assert set(Session.objects.filter(user=user).values_list("ended_reason", flat=True)) == {"account"}


def test_new_password_ends_all_sessions_and_shows_in_lists(admin_browser: Client, client: Client) -> None:
    user = user_create()
    header = bearer(user)
    assert client.get("/api/v1/me", **header).status_code == 200
    new = "an entirely different one"
    body = {"usable_password": "true", "password1": new, "password2": new}
    assert admin_browser.post(f"{USER}/{user.pk}/password/", body).status_code == 302
    assert_problem(client.get("/api/v1/me", **header), 401, "token-refused")
    user.refresh_from_db()
    assert user.check_password(new)
    body = {"usable_password": "false", "password1": "", "password2": "", "unset-password": "yes"}
    assert admin_browser.post(f"{USER}/{user.pk}/password/", body).status_code == 302
    user.refresh_from_db()
    assert not user.has_usable_password()


def test_actions_end_sessions(admin_browser: Client, client: Client) -> None:
    one, other = user_create(), user_create()
    headers = [bearer(one), bearer(other)]
    session = Session.objects.get(user=one)
    assert [client.get("/api/v1/me", **header).status_code for header in headers] == [200, 200]
    answer = admin_browser.post(
        f"{SESSIONS}/", {"action": "end_selected", "_selected_action": [str(session.pk)]}, follow=True
    )
    assert "Sessions ended: 1." in answer.content.decode()
    assert [client.get("/api/v1/me", **header).status_code for header in headers] == [401, 200]
    admin_browser.post(f"{USER}/", {"action": "end_sessions", "_selected_action": [str(other.pk)]})
    assert client.get("/api/v1/me", **headers[1]).status_code == 401
    ended = Session.objects.filter(user__in=[one, other])
    assert set(ended.values_list("ended_reason", flat=True)) == {"admin"}


def test_sessions_cannot_be_added_edited_or_deleted(admin_browser: Client) -> None:
    session_id = sign_in(user_create()).session_id
    assert admin_browser.get(f"{SESSIONS}/add/").status_code == 403
    assert admin_browser.post(f"{SESSIONS}/{session_id}/delete/", {"post": "yes"}).status_code == 403
    admin_browser.post(f"{SESSIONS}/{session_id}/change/", {"device": "changed", "address": "198.51.100.1"})
    assert Session.objects.get(pk=session_id).device == "test"


def test_deleting_a_user_ends_all_sessions(admin_browser: Client, client: Client) -> None:
    user = user_create()
    header = bearer(user)
    assert client.get("/api/v1/me", **header).status_code == 200
    assert admin_browser.post(f"{USER}/{user.pk}/delete/", {"post": "yes"}).status_code == 302
    assert_problem(client.get("/api/v1/me", **header), 401, "token-refused")


@pytest.fixture
def staff_browser() -> Client:
    """Return the browser of staff who can change users, but are not superusers."""
    user = user_create(email="helper@example.com", is_staff=True)
    names = ("view_user", "change_user", "delete_user", "view_session", "change_session")
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts", codename__in=names))
    client = Client()
    admin_sign_in(client, user)
    return client


def test_only_superusers_grant_rights(staff_browser: Client) -> None:
    user = user_create()
    group = Group.objects.create(name="editors")
    permission = Permission.objects.get(codename="change_job")
    rights = {"is_staff": "on", "is_superuser": "on", "groups": str(group.pk), "user_permissions": str(permission.pk)}
    answer = staff_browser.post(f"{USER}/{user.pk}/change/", fields(user, name="New", **rights))
    assert answer.status_code == 302
    user.refresh_from_db()
    assert user.name == "New"
    assert (user.is_staff, user.is_superuser) == (False, False)
    assert not user.groups.exists()
    assert not user.user_permissions.exists()


def test_only_superusers_change_groups(staff_browser: Client, admin_browser: Client) -> None:
    """Otherwise staff could give all permissions to a group that they are in."""
    user, page = User.objects.get(email="helper@example.com"), "/admin/auth/group"
    group = Group.objects.create(name="editors")
    user.groups.add(group)
    user.user_permissions.add(*Permission.objects.filter(content_type__model="group"))
    every = {"name": "editors", "permissions": [str(one.pk) for one in Permission.objects.all()]}
    assert staff_browser.post(f"{page}/{group.pk}/change/", every).status_code == 403
    assert staff_browser.post(f"{page}/add/", {**every, "name": "more"}).status_code == 403
    assert staff_browser.post(f"{page}/{group.pk}/delete/", {"post": "yes"}).status_code == 403
    staff_browser.post(f"{page}/", {"action": "delete_selected", "_selected_action": str(group.pk), "post": "yes"})
    assert [one.name for one in Group.objects.all()] == ["editors"]
    assert not group.permissions.exists()
    assert staff_browser.get(f"{page}/{group.pk}/change/").status_code == 200  # read-only
    assert admin_browser.post(f"{page}/{group.pk}/change/", every).status_code == 302
    assert group.permissions.exists()


@pytest.mark.parametrize("level", ["is_staff", "is_superuser"])
def test_only_superusers_change_staff_accounts(staff_browser: Client, level: str) -> None:
    user = user_create(**{level: True})
    new = {"usable_password": "true", "password1": "an entirely new one", "password2": "an entirely new one"}
    assert staff_browser.post(f"{USER}/{user.pk}/password/", new).status_code == 403
    assert staff_browser.post(f"{USER}/{user.pk}/change/", fields(user, email="mine@example.com")).status_code == 403
    assert staff_browser.post(f"{USER}/{user.pk}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": str(user.pk), "post": "yes"}
    staff_browser.post(f"{USER}/", chosen)
    stored = User.objects.get(pk=user.pk)
    assert stored.check_password(PASSWORD)
    assert stored.email == user.email


@pytest.mark.parametrize(("page", "action"), [(USER, "end_sessions"), (SESSIONS, "end_selected")])
def test_only_superusers_end_staff_sessions(staff_browser: Client, client: Client, page: str, action: str) -> None:
    users = [user_create(is_superuser=True), user_create(is_staff=True), user_create()]
    headers = [bearer(user) for user in users]
    model = User.objects if page == USER else Session.objects
    chosen = [str(row.pk) for row in model.all() if getattr(row, "user", row) in users]
    said = staff_browser.post(f"{page}/", {"action": action, "_selected_action": chosen}, follow=True).content.decode()
    assert "Sessions ended: 1." in said
    assert "Skipped: 2." in said
    assert [client.get("/api/v1/me", **header).status_code for header in headers] == [200, 200, 401]


def test_user_is_deleted_with_related_rows(admin_browser: Client) -> None:
    user = user_create()
    job_submit(kind="sample.count", owner=user, parameters={"seconds": 0})
    assert admin_browser.post(f"{USER}/{user.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=user.pk).exists()
