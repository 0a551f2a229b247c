"""caching, groups (RFC 9875): caches learn which responses a write has changed, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from apps.accounts.models import User
from apps.practices.caching import CachedResponse, tags_change
from apps.practices.caching.groups import ALL, MOST, group_of
from tests.apps.accounts.factories import NEW_PASSWORD, admin_sign_in, bearer, user_create
from tests.sample.services import note_create, note_update

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.sample.urls")]
NOTES = "/api/v1/sample/notes"
NOTE = {"title": "New", "body": "<p>x</p>", "published": True}


def groups(response: Any, name: str = "Cache-Groups") -> set[str]:
    """Return the members of the field, which must be a list of strings within the RFC's bounds."""
    members = response.headers.get(name, "").split(", ")
    assert all(re.fullmatch(r'"[A-Za-z0-9_-]{1,32}"', member) for member in members), members
    assert len(members) <= 32
    return {member.strip('"') for member in members}


def invalidated(response: Any) -> set[str]:
    return groups(response, "Cache-Group-Invalidation")


def written(client: Client, **extra: Any) -> Any:
    return client.post(NOTES, data=NOTE, content_type="application/json", **extra)


@pytest.fixture
def user() -> User:
    return user_create()


def test_write_names_the_groups_of_what_it_changed(client: Client, user: User) -> None:
    mine, other = (note_create(owner=user, title=title) for title in ("mine", "other"))
    listed, read, untouched = (client.get(path) for path in (NOTES, f"{NOTES}/{mine.pk}", f"{NOTES}/{other.pk}"))
    header = bearer(user)
    changed = client.patch(f"{NOTES}/{mine.pk}", data={"title": "b"}, content_type="application/json", **header)
    assert changed.status_code == 200
    assert groups(listed) & invalidated(changed)
    assert groups(read) & invalidated(changed)
    assert not groups(untouched) & invalidated(changed)
    assert groups(listed) & invalidated(written(client, **header))
    assert groups(listed) & invalidated(client.delete(f"{NOTES}/{mine.pk}", **header))


def test_hits_and_304s_and_signed_in_reads_have_the_same_groups(client: Client, user: User) -> None:
    first, hit = client.get(NOTES), client.get(NOTES)
    unchanged = client.get(NOTES, headers={"if-none-match": first["ETag"]})
    own = client.get(NOTES, **bearer(user))
    assert unchanged.status_code == 304
    assert "hit" in hit["Cache-Status"]
    assert groups(first) == groups(hit) == groups(unchanged) == groups(own)
    assert len(groups(first)) == 3  # two tags, and all


@pytest.mark.parametrize("status", [400, 401, 403, 404, 412])
def test_refused_write_invalidates_nothing(client: Client, user: User, status: int) -> None:
    note = note_create(owner=user, title="mine")
    body: dict[str, Any] = {"title": "b"}
    path, header = f"{NOTES}/{note.pk}", bearer(user)
    match status:
        case 400:
            body = {"title": ""}
        case 401:
            header = {}
        case 403:
            header = bearer(user_create())
        case 404:
            note_update(note=note, actor=user, expected=None, published=False)
            header = bearer(user_create())
        case 412:
            header["HTTP_IF_MATCH"] = '"9.ab"'
    answer = client.patch(path, data=body, content_type="application/json", **header)
    assert answer.status_code == status
    assert "Cache-Group-Invalidation" not in answer.headers


def test_repeated_write_names_them_again(client: Client, user: User) -> None:
    """The first response may have been lost on its way to the cache."""
    header = {**bearer(user), "HTTP_IDEMPOTENCY_KEY": "one"}
    first, again = written(client, **header), written(client, **header)
    assert again["Idempotency-Replayed"] == "true"
    assert invalidated(first) == invalidated(again) != set()


def test_admin_names_what_it_changed(client: Client, user: User) -> None:
    admin_sign_in(client, user_create(is_staff=True, is_superuser=True))
    body = {"email": user.email, "name": "Ada", "is_active": "on"}
    answer = client.post(f"/admin/accounts/user/{user.pk}/change/", body)
    assert answer.status_code == 302
    assert groups(Client().get(NOTES)) & invalidated(answer), "the list shows names"


def test_public_response_reveals_no_tag(client: Client, user: User, settings: Any) -> None:
    """Two services, or two secrets, share no names: nobody can compute them from an id."""
    note = note_create(owner=user, title="mine")
    answer = client.get(f"{NOTES}/{note.pk}")
    named = str(answer.headers["Cache-Groups"])
    assert not any(tag in named for tag in (str(note.pk), str(user.pk), "note", "people", user.email))
    group_of.cache_clear()
    settings.SECRET_KEY = "another" * 8
    try:
        assert group_of(f"note:{note.pk}") not in named
    finally:
        group_of.cache_clear()


def test_registration_reveals_no_address(client: Client, settings: Any) -> None:
    settings.REQUIRE_VERIFIED_EMAIL = True
    taken = user_create(email_verified=True).email
    fields = set()
    for email in ("free@example.com", taken):
        body = {"email": email, "password": NEW_PASSWORD}
        answer = client.post("/api/v1/auth/register", data=body, content_type="application/json")
        assert answer.status_code == 202
        fields.add(frozenset(answer.headers))
    assert len(fields) == 1


def test_many_changes_name_the_group_of_everything(client: Client, user: User, monkeypatch: Any) -> None:
    from tests.sample import services

    original = services.tags_change
    for count, expected in ((MOST, MOST), (MOST + 1, 1)):
        monkeypatch.setattr(
            services, "tags_change", lambda *tags, n=count: original(*(f"note:{number}" for number in range(n)))
        )
        named = invalidated(written(client, **bearer(user)))
        assert len(named) == expected
    assert named == {ALL} <= groups(client.get(NOTES))


def test_rolled_back_change_is_not_named(client: Client, user: User, monkeypatch: Any) -> None:
    from tests.sample import services

    def undone(*tags: str) -> None:
        with transaction.atomic():
            tags_change(*tags)
            transaction.set_rollback(True)

    monkeypatch.setattr(services, "tags_change", undone)
    assert "Cache-Group-Invalidation" not in written(client, **bearer(user)).headers


def test_too_many_tags_are_refused() -> None:
    with pytest.raises(ValueError, match="31"):
        CachedResponse(ttl=1, tags=(str(number) for number in range(MOST)))
