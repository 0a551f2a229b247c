"""The sample app: owners write, versions are compared, private notes are hidden."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.accounts.models import User
from tests.problems import assert_problem
from tests.sample.models import Note

PATH = "/api/v1/sample/notes"


def signed_in(email: str) -> APIClient:
    client = APIClient()
    client.force_authenticate(User.objects.create(email=email))
    return client


@pytest.fixture
def owner(db: None) -> APIClient:
    return signed_in("owner@example.com")


@pytest.fixture
def note(owner: APIClient) -> dict[str, Any]:
    response = owner.post(PATH, {"title": "one", "body": "<p>a</p>"})
    assert response.status_code == 201, response.content
    return {**response.json(), "path": f"{PATH}/{response.json()['id']}", "etag": response["ETag"]}


def test_note_has_the_documented_fields(note: dict[str, Any]) -> None:
    shown = APIClient().get(note["path"])
    assert shown.status_code == 200
    assert list(shown.json()) == ["id", "title", "body", "owner", "published", "version", "created_at", "updated_at"]
    listed = APIClient().get(PATH).json()["results"]
    assert listed == [shown.json()]


def test_writes_compare_the_version(owner: APIClient, note: dict[str, Any]) -> None:
    changed = owner.patch(note["path"], {"title": "two"}, HTTP_IF_MATCH=note["etag"])
    assert changed.status_code == 200, changed.content
    assert (changed.json()["title"], changed.json()["body"], changed.json()["version"]) == ("two", "<p>a</p>", 2)
    for method in (owner.put, owner.patch, owner.delete):
        assert_problem(method(note["path"], {"title": "three"}, HTTP_IF_MATCH=note["etag"]), 412, "precondition-failed")
    for method in (owner.put, owner.patch):  # before what the body holds
        assert_problem(method(note["path"], {"title": 3}, HTTP_IF_MATCH=note["etag"]), 412, "precondition-failed")
    assert Note.objects.values_list("title", flat=True).get() == "two"
    assert owner.put(note["path"], {"title": "three"}, HTTP_IF_MATCH=changed["ETag"]).json()["body"] == ""
    assert owner.delete(note["path"]).status_code == 204
    assert_problem(owner.get(note["path"]), 404, "not-found")


def test_only_the_owner_may_write(note: dict[str, Any]) -> None:
    other = signed_in("other@example.com")
    for method in (other.put, other.patch, other.delete):
        for old in ({}, {"HTTP_IF_MATCH": '"9.ab"'}):
            assert_problem(method(note["path"], {"title": "x"}, **old), 403, "permission-denied")
        assert_problem(
            APIClient().generic(method.__name__.upper(), note["path"], json.dumps({})), 401, "not-authenticated"
        )
    assert Note.objects.get().version == 1


def test_private_note_is_visible_to_its_owner_only(owner: APIClient, note: dict[str, Any]) -> None:
    owner.patch(note["path"], {"published": False})
    assert owner.get(note["path"]).status_code == 200
    for stranger in (APIClient(), signed_in("other@example.com")):
        assert_problem(stranger.get(note["path"]), 404, "not-found")
        assert_problem(stranger.get(f"{PATH}/no-id"), 404, "not-found")
    assert APIClient().get(PATH).json()["results"] == []


def test_writes_take_no_query(owner: APIClient, note: dict[str, Any]) -> None:
    assert_problem(owner.patch(f"{note['path']}?force=1", {"title": "x"}), 400, "validation", pointer="?force")
