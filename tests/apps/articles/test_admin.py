"""The admin over HTTP: the API shows what was saved there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import User
from apps.articles.models import Article

API = "/api/v1/articles"
ADMIN = "/admin/articles/article/"
Make = Callable[..., Article]


@pytest.fixture
def editor(db: None) -> User:
    from tests.apps.accounts.factories import user_create

    editor = user_create(name="Editor", is_staff=True)
    editor.user_permissions.set(Permission.objects.filter(content_type__app_label="articles"))
    return editor


@pytest.fixture
def browser(editor: User) -> Client:
    """Return a client that is signed in to the admin as the editor."""
    from tests.apps.accounts.factories import admin_sign_in

    browser = Client(headers={"accept": "text/html"})
    admin_sign_in(browser, editor)
    return browser


def form_of(browser: Client, path: str, **changes: Any) -> dict[str, Any]:
    """Return the form's values with the changes, as a browser would send them."""
    form = browser.get(path).context["adminform"].form
    values: dict[str, Any] = {}
    for bound in form:
        value = bound.value()
        if bound.name == "published_at":
            values["published_at_0"] = value.date().isoformat() if value else ""
            values["published_at_1"] = value.time().isoformat("seconds") if value else ""
        else:
            values[bound.name] = ",".join(value) if isinstance(value, list) else "" if value is None else value
    return {**values, **changes}


def save(browser: Client, path: str, **changes: Any) -> Any:
    return browser.post(path, form_of(browser, path, **changes))


def shown(article: Article) -> dict[str, Any]:
    response = Client().get(f"{API}/{article.pk}")
    assert response.status_code == 200
    return response.json()


@pytest.mark.django_db(transaction=True)
def test_edit_is_cleaned_counted_and_visible(browser: Client, article_make: Make) -> None:
    article = article_make(tags=["a"])
    assert shown(article)["version"] == 1  # now it is cached
    path = f"{ADMIN}{article.pk}/change/"
    response = save(browser, path, body="<p onclick=x()>Edited <script>x()</script></p>", tags="B, a")
    assert response.status_code == 302, response.context["adminform"].form.errors
    after = shown(article)
    assert after["body"].strip() == "<p>Edited </p>"
    assert (after["tags"], after["version"], after["summary"]) == (["b", "a"], 2, "Edited")
    assert after["author"]["name"] == "Author"
    assert after["slug"] == article.slug


def test_unchanged_form_writes_nothing(browser: Client, article_make: Make) -> None:
    article = article_make(body="<p>One</p>\n<p>Two</p>")
    path = f"{ADMIN}{article.pk}/change/"
    assert save(browser, path, body="<p>One</p>\r\n<p>Two</p>").status_code == 302  # line endings as browsers send them
    stored = Article.objects.get(pk=article.pk)
    assert (stored.version, stored.published_at) == (1, article.published_at)


@pytest.mark.django_db(transaction=True)
def test_editor_authors_a_new_article(browser: Client, editor: User) -> None:
    assert Client().get(API).json()["results"] == []
    values = {"title": "By hand", "body": "<p>x</p><iframe></iframe>"}
    response = save(browser, f"{ADMIN}add/", **values, published_at_0="2026-01-01", published_at_1="10:00:00")
    assert response.status_code == 302, response.context["adminform"].form.errors
    [made] = Client().get(f"{API}?fields=id,slug,body,summary,version,author").json()["results"]
    assert (made["slug"], made["body"], made["summary"], made["version"]) == ("by-hand", "<p>x</p>", "x", 1)
    assert made["author"] == {"id": str(editor.pk), "name": "Editor"}
    assert browser.get(f"{ADMIN}{made['id']}/history/").status_code == 200


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"body": "<script>x</script>"}, "body"),
        ({"title": "a\u202eb"}, "title"),
        ({"tags": "ok,a;b"}, "tags"),
        ({"slug": "taken"}, "slug"),
        ({"slug": "no slug"}, "slug"),
    ],
)
def test_form_refuses_what_the_api_refuses(
    browser: Client, article_make: Make, changes: dict[str, Any], name: str
) -> None:
    article_make(slug="taken")
    article = article_make(title="Mine")
    response = save(browser, f"{ADMIN}{article.pk}/change/", **changes)
    assert response.status_code == 200
    errors = response.context["adminform"].form.errors
    assert name in errors or "__all__" in errors
    assert Article.objects.get(pk=article.pk).version == 1


def test_second_of_two_editors_is_warned(browser: Client, article_make: Make) -> None:
    article = article_make()
    path = f"{ADMIN}{article.pk}/change/"
    first, second = form_of(browser, path, title="First"), form_of(browser, path, title="Second")
    assert browser.post(path, first).status_code == 302
    response = browser.post(path, second)
    assert response.status_code == 200
    assert "Someone else has changed this article" in response.content.decode()
    assert Article.objects.get(pk=article.pk).title == "First"


@pytest.mark.django_db(transaction=True)
def test_deletion_invalidates_caches(browser: Client, article_make: Make) -> None:
    one, two, three = (article_make(title=f"t{number}") for number in range(3))
    for article in (one, two, three):
        shown(article)
    assert len(Client().get(API).json()["results"]) == 3
    assert browser.post(f"{ADMIN}{one.pk}/delete/", {"post": "yes"}).status_code == 302
    chosen = {"action": "delete_selected", "_selected_action": [two.pk, three.pk], "post": "yes"}
    assert browser.post(ADMIN, chosen).status_code == 302
    assert Client().get(API).json()["results"] == []
    assert [Client().get(f"{API}/{article.pk}").status_code for article in (one, two, three)] == [404, 404, 404]


def test_admin_list_takes_a_fixed_number_of_queries(browser: Client, article_make: Make, settings: Any) -> None:
    settings.TOKENS_CHECK_SECONDS = 0  # each request checks its session
    counts = []
    for amount in (2, 60):
        for number in range(amount):
            article_make(title=f"Pools {number}")
        with CaptureQueriesContext(connection) as queries:
            page = browser.get(ADMIN)
        assert page.status_code == 200  # zeal raises on a query per row
        counts.append(len(queries))
        assert not any('"search"' in query["sql"].partition(" FROM ")[0] for query in queries)
    assert counts[0] == counts[1]
    assert len(page.context["cl"].result_list) == 50
    assert len(re.findall("Pools 5<", browser.get(f"{ADMIN}?q=pools+5").content.decode())) == 1


def test_view_permission_shows_no_form(article_make: Make) -> None:
    from tests.apps.accounts.factories import admin_sign_in, user_create

    browser = Client(headers={"accept": "text/html"})
    admin_sign_in(browser, user_create(is_staff=True, permissions=("articles.view_article",)))
    path = f"{ADMIN}{article_make().pk}/change/"
    page = browser.get(path)
    assert page.status_code == 200
    assert "A title" in page.content.decode()
    assert "field-expected_version" not in page.content.decode()
    assert browser.post(path, {"title": "Forged"}).status_code == 403
    assert Article.objects.get().title == "A title"


def test_staff_without_permission_see_nothing(article_make: Make) -> None:
    from tests.apps.accounts.factories import admin_sign_in, user_create

    browser = Client(headers={"accept": "text/html"})
    admin_sign_in(browser, user_create(is_staff=True))
    assert browser.get(ADMIN).status_code == 403
    assert browser.post(f"{ADMIN}{article_make().pk}/delete/", {"post": "yes"}).status_code == 403
    assert Article.objects.count() == 1
