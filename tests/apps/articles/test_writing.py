"""Writing over HTTP: permissions, fields, and concurrent writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.services.users import user_save
from apps.articles.models import BODY_LENGTH, TAGS_MAX, Article
from apps.articles.services import article_update
from apps.practices.errors import PreconditionFailed
from tests.apps.accounts.factories import admin_sign_in, user_create
from tests.apps.articles.conftest import Caller
from tests.problems import assert_problem
from tests.races import at_once

URL = "/api/v1/articles"
WHOLE = {"title": "New", "body": "<p>New text</p>"}
Make = Callable[..., Article]
People = Callable[[str], Caller]


def send(client: Client, method: str, path: str, body: Any = None, **headers: Any) -> Any:
    return client.generic(method, path, *([] if body is None else [json.dumps(body), "application/json"]), **headers)


def test_create_returns_article_and_location(client: Client, author: Caller) -> None:
    body = {**WHOLE, "tags": ["Web", "web", "api"], "published_at": "2026-01-02T03:04:05+01:00"}
    response = send(client, "POST", URL, body, **author.headers)
    assert response.status_code == 201, response.content
    made = response.json()
    assert (made["slug"], made["tags"], made["version"], made["summary"]) == ("new", ["web", "api"], 1, "New text")
    assert made["published_at"] == "2026-01-02T02:04:05Z"
    assert made["author"]["id"] == str(author.user.pk)
    assert response["Location"] == f"{URL}/{made['id']}"
    read = client.get(response["Location"])
    assert (read.json(), read["ETag"]) == (made, response["ETag"])


def test_article_without_a_date_is_a_draft(client: Client, author: Caller) -> None:
    made = send(client, "POST", URL, WHOLE, **author.headers).json()
    assert made["published_at"] is None
    assert client.get(f"{URL}/{made['id']}").status_code == 404


def test_stored_html_is_clean(client: Client, author: Caller) -> None:
    body = "<p onclick=steal()>Hello <script>steal()</script><a href='javascript:x'>you</a></p>"
    made = send(client, "POST", URL, {**WHOLE, "body": body}, **author.headers).json()
    stored = Article.objects.get(pk=made["id"]).body
    assert made["body"] == stored
    assert "Hello" in stored
    assert not any(word in stored for word in ("script", "onclick", "steal"))


@pytest.mark.parametrize("name", ["id", "author", "author_id", "version", "created_at", "updated_at", "search", "x"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_read_only_fields_are_refused(
    client: Client, author: Caller, article_make: Make, method: str, name: str
) -> None:
    article = article_make()
    path = URL if method == "POST" else f"{URL}/{article.pk}"
    assert_problem(
        send(client, method, path, {**WHOLE, name: None}, **author.headers), 400, "validation", pointer=f"/{name}"
    )
    assert list(Article.objects.values_list("title", "version")) == [("A title", 1)]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"title": ""}, "/title"),
        ({"title": "x" * 201}, "/title"),
        ({"title": "a\u0000b"}, "/title"),
        ({"title": None}, "/title"),
        ({"body": "<script>x</script>"}, "/body"),
        ({"body": "x" * (BODY_LENGTH + 1)}, "/body"),
        ({"summary": "x" * 301}, "/summary"),
        ({"tags": "web"}, "/tags"),
        ({"tags": ["ok", "a;b"]}, "/tags/1"),
        ({"tags": ["x" * 51]}, "/tags/0"),
        ({"tags": [str(number) for number in range(TAGS_MAX + 1)]}, "/tags"),
        ({"published_at": "yesterday"}, "/published_at"),
        ({"slug": "not a slug"}, "/slug"),
        ({"slug": ""}, "/slug"),
    ],
)
def test_invalid_values_are_pointed_at(client: Client, author: Caller, change: dict[str, Any], pointer: str) -> None:
    response = send(client, "POST", URL, {**WHOLE, **change}, **author.headers)
    assert_problem(response, 400, "validation", pointer=pointer)
    assert not Article.objects.exists()


def test_taken_slug_is_a_conflict(client: Client, author: Caller, article_make: Make) -> None:
    article_make(slug="mine")
    second = article_make(slug="second")
    for method, path in (("POST", URL), ("PUT", f"{URL}/{second.pk}"), ("PATCH", f"{URL}/{second.pk}")):
        response = send(client, method, path, {**WHOLE, "slug": "Mine"}, **author.headers)
        assert_problem(response, 409, "slug-taken", pointer="/slug")
    assert send(client, "POST", URL, {**WHOLE, "title": "mine"}, **author.headers).json()["slug"].startswith("mine-")


def test_put_replaces_and_patch_changes(client: Client, author: Caller, article_make: Make) -> None:
    path = f"{URL}/{article_make(tags=['a'], slug='kept', summary='By hand').pk}"
    patched = send(client, "PATCH", path, {"title": "Patched"}, **author.headers)
    assert patched.status_code == 200
    shown = patched.json()
    assert (shown["title"], shown["tags"], shown["summary"], shown["version"]) == ("Patched", ["a"], "By hand", 2)
    assert patched["ETag"].startswith('"2.')
    assert_problem(send(client, "PUT", path, {"title": "Half"}, **author.headers), 400, "validation", pointer="/body")
    shown = send(client, "PUT", path, WHOLE, **author.headers).json()
    assert (shown["title"], shown["tags"], shown["summary"], shown["slug"]) == ("New", [], "New text", "kept")
    assert (shown["published_at"], shown["version"]) == (None, 3)


# Rows: the caller. Columns: the operation on another user's published article and draft.
#                    POST | published: PUT PATCH DELETE | draft: PUT PATCH DELETE
MATRIX = {
    "nobody":        (401, 401, 401, 401, 401, 401, 401),
    "other":         (201, 403, 403, 403, 404, 404, 404),
    "staff":         (201, 403, 403, 403, 404, 404, 404),
    "staff+view":    (201, 403, 403, 403, 403, 403, 403),
    "staff+change":  (201, 200, 200, 403, 200, 200, 403),
    "staff+delete":  (201, 403, 403, 204, 404, 404, 204),
    "author":        (201, 200, 200, 204, 200, 200, 204),
}  # fmt: skip


@pytest.mark.parametrize("role", MATRIX)
def test_who_may_write(client: Client, callers: People, article_make: Make, role: str) -> None:
    headers = callers(role).headers
    seen = [send(client, "POST", URL, WHOLE, **headers).status_code]
    for values in ({}, {"published_at": None}):
        for method, body in (("PUT", WHOLE), ("PATCH", {"title": "New"}), ("DELETE", None)):
            article = article_make(title="Untouched", **values)
            response = send(client, method, f"{URL}/{article.pk}", body, **headers)
            seen.append(response.status_code)
            if response.status_code >= 400:
                assert_problem(response, response.status_code)
                assert Article.objects.get(pk=article.pk).title == "Untouched"
            else:
                assert not Article.objects.filter(pk=article.pk, title="Untouched").exists()
    assert tuple(seen) == MATRIX[role]


def test_permissions_are_checked_before_the_body(client: Client, callers: People, article_make: Make) -> None:
    path = f"{URL}/{article_make(published_at=None).pk}"
    assert_problem(send(client, "PATCH", path, {"nonsense": 1}, **callers("other").headers), 404)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_if_none_match_is_refused_on_writes(client: Client, author: Caller, article_make: Make, method: str) -> None:
    """If-None-Match: * (RFC 9110, 13.1.2) would create what does not exist, which these operations cannot."""
    article = article_make()
    path, body = f"{URL}/{article.pk}", None if method == "DELETE" else WHOLE
    before = client.get(path, **author.headers).content
    answer = send(client, method, path, body, HTTP_IF_NONE_MATCH=" * ", **author.headers)
    assert_problem(answer, 412, "precondition-failed")
    assert client.get(path, **author.headers).content == before
    gone = f"{URL}/01890000-0000-7000-8000-00000000000a"
    assert send(client, method, gone, body, HTTP_IF_NONE_MATCH="*", **author.headers).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_if_match_compares_the_version(client: Client, author: Caller, article_make: Make, method: str) -> None:
    article = article_make()
    path = f"{URL}/{article.pk}"
    body = None if method == "DELETE" else WHOLE
    tag = client.get(path, **author.headers)["ETag"]
    Article.objects.filter(pk=article.pk).update(version=2)
    assert_problem(send(client, method, path, body, HTTP_IF_MATCH=tag, **author.headers), 412, "precondition-failed")
    assert Article.objects.get(pk=article.pk).title == "A title"
    assert_problem(send(client, method, path, body, HTTP_IF_MATCH="nonsense", **author.headers), 400, "malformed")
    tag = client.get(path, **author.headers)["ETag"]
    assert send(client, method, path, body, HTTP_IF_MATCH=tag, **author.headers).status_code < 300
    assert not Article.objects.filter(pk=article.pk, version=2).exists()


REFUSED = {"a taken slug": {"slug": "taken"}, "a wrong value": {"tags": 7}, "an unknown field": {"nonsense": 1}}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED.keys())
def test_old_version_is_refused_before_validation(
    client: Client, author: Caller, article_make: Make, method: str, change: dict[str, Any]
) -> None:
    """RFC 9110, 13.2.1: If-Match is evaluated after the request's own checks, before its content is processed."""
    article_make(slug="taken")
    article = article_make()
    path = f"{URL}/{article.pk}"
    tag = client.get(path, **author.headers)["ETag"]
    Article.objects.filter(pk=article.pk).update(version=2)
    body = {**(WHOLE if method == "PUT" else {}), **change}
    assert_problem(send(client, method, path, body, HTTP_IF_MATCH=tag, **author.headers), 412, "precondition-failed")
    answer = send(client, method, path, body, HTTP_IF_MATCH='"2.ab"', **author.headers)
    assert answer.status_code == (409 if "slug" in change else 400)


@pytest.mark.parametrize(
    ("status", "who", "options"),
    [
        (401, "nobody", {}),
        (404, "other", {}),
        (413, "author", {"CONTENT_LENGTH": "9" * 12}),
        (415, "author", {"content_type": "text/plain"}),
    ],
)
def test_body_is_read_before_the_version(
    client: Client, callers: People, article_make: Make, status: int, who: str, options: dict[str, Any]
) -> None:
    path = f"{URL}/{article_make(published_at=None).pk}"
    given = {"content_type": "application/json", **options, "HTTP_IF_MATCH": '"9.ab"', **callers(who).headers}
    assert_problem(client.generic("PUT", path, json.dumps(WHOLE), **given), status)


def test_old_version_is_refused_before_a_taken_slug(article_make: Make) -> None:
    article_make(slug="taken")
    article = article_make()
    Article.objects.filter(pk=article.pk).update(version=2)
    with pytest.raises(PreconditionFailed):
        article_update(article=article, expected=9, changes={"slug": "taken"})


@pytest.mark.django_db(transaction=True)
def test_one_of_concurrent_writers_wins(author: Caller, article_make: Make) -> None:
    article = article_make()
    path = f"{URL}/{article.pk}"
    tag = Client().get(path, **author.headers)["ETag"]

    def write(number: int) -> int:
        response = send(Client(), "PATCH", path, {"title": f"By {number}"}, HTTP_IF_MATCH=tag, **author.headers)
        return int(response.status_code)

    assert sorted(at_once(4, write)) == [200, 412, 412, 412]
    assert Article.objects.get(pk=article.pk).version == 2


@pytest.mark.django_db(transaction=True)
def test_equal_titles_at_once_are_all_created(author: Caller) -> None:
    answers = at_once(4, lambda _: send(Client(), "POST", URL, WHOLE, **author.headers))
    assert [answer.status_code for answer in answers] == [201] * 4


@pytest.mark.django_db(transaction=True)
def test_write_is_visible_to_the_next_reader(client: Client, author: Caller, article_make: Make) -> None:
    path = f"{URL}/{article_make().pk}"

    def read() -> tuple[list[str], int]:
        return [row["title"] for row in client.get(URL).json()["results"]], client.get(path).status_code

    assert read() == (["A title"], 200)
    assert "hit" in client.get(path)["Cache-Status"]
    assert "hit" in client.get(URL)["Cache-Status"]
    send(client, "PATCH", path, {"title": "Second"}, **author.headers)
    assert read() == (["Second"], 200)
    assert client.get(path).json()["title"] == "Second"
    made = send(client, "POST", URL, {**WHOLE, "published_at": "2026-01-01T00:00:00Z"}, **author.headers).json()
    assert read()[0] == ["Second", "New"]
    send(client, "DELETE", f"{URL}/{made['id']}", **author.headers)
    assert read() == (["Second"], 200)
    send(client, "PATCH", path, {"published_at": None}, **author.headers)
    assert read() == ([], 404)
    later = (timezone.now() + timedelta(days=1)).isoformat()
    send(client, "PATCH", path, {"published_at": later}, **author.headers)
    assert read() == ([], 404)


def test_other_methods_are_refused(client: Client, author: Caller, article_make: Make) -> None:
    path = f"{URL}/{article_make().pk}"
    for method, where in (("PUT", URL), ("DELETE", URL), ("POST", path)):
        assert_problem(send(client, method, where, WHOLE, **author.headers), 405, "method-not-allowed")


@pytest.mark.django_db(transaction=True)
def test_authors_new_name_is_visible_at_once(client: Client, callers: People, article_make: Make) -> None:
    author, other = callers("author"), callers("other")
    path = f"{URL}/{article_make().pk}"

    def shown() -> set[str]:
        return {client.get(path).json()["author"]["name"], client.get(URL).json()["results"][0]["author"]["name"]}

    assert shown() == {"Author"}
    send(client, "PATCH", "/api/v1/me", {"name": "Renamed"}, **author.headers)
    assert shown() == {"Renamed"}
    browser = Client(headers={"accept": "text/html"})
    admin_sign_in(browser, user_create(is_staff=True, is_superuser=True))
    page = f"/admin/accounts/user/{author.user.pk}/change/"
    form = {name: value for name, value in browser.get(page).context["adminform"].form.initial.items() if value}
    assert browser.post(page, {**form, "name": "By the admin"}).status_code == 302
    assert shown() == {"By the admin"}
    assert "hit" in client.get(path)["Cache-Status"]
    send(client, "PATCH", "/api/v1/me", {}, **other.headers)
    user_save(user=user_create())
    assert "hit" in client.get(path)["Cache-Status"], "a change without a new name keeps cached responses"
