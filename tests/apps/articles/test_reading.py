"""Reading lists and single articles over HTTP."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.articles.models import Article
from apps.articles.permissions import may_read
from apps.articles.selectors import article_readable
from tests.apps.accounts.factories import user_create
from tests.apps.articles.conftest import Caller
from tests.caches import caches_clear
from tests.problems import assert_problem

URL = "/api/v1/articles"
SHAPE = {
    "id", "slug", "title", "body", "summary", "tags", "author", "published_at", "created_at", "updated_at", "version",
}  # fmt: skip
Make = Callable[..., Article]
People = Callable[[str], Caller]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def listed(client: Client, query: str = "", **headers: Any) -> list[dict[str, Any]]:
    response = client.get(f"{URL}?{query}", **headers)
    assert response.status_code == 200, response.content
    return response.json()["results"]


def titles(client: Client, query: str = "", **headers: Any) -> list[str]:
    return [article["title"] for article in listed(client, query, **headers)]


def test_article_has_the_documented_shape(client: Client, author: Caller, article_make: Make) -> None:
    article = article_make(body="<p>Some <b>text</b></p>", tags=["a", "b"])
    shown = client.get(f"{URL}/{article.pk}").json()
    assert set(shown) == SHAPE
    assert shown["author"] == {"id": str(author.user.pk), "name": "Author"}
    assert (shown["tags"], shown["summary"], shown["version"]) == (["a", "b"], "Some text", 1)
    assert uuid.UUID(shown["id"]).version == 7
    assert all(TIME.fullmatch(shown[name]) for name in ("published_at", "created_at", "updated_at"))
    assert listed(client) == [{name: shown[name] for name in shown if name != "body"}]
    assert listed(client, f"fields={','.join(shown)}") == [shown]


def test_article_without_an_author_shows_null(client: Client, article_make: Make) -> None:
    article = article_make(author=None)
    assert client.get(f"{URL}/{article.pk}").json()["author"] is None
    assert listed(client)[0]["author"] is None


@pytest.mark.parametrize("path", [f"{URL}/{uuid.UUID(int=0)}", f"{URL}/nonsense", f"{URL}/"])
def test_unknown_article_is_404(client: Client, db: None, path: str) -> None:
    assert_problem(client.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("state", "values"),
    [
        ("draft", {"published_at": None}),
        ("scheduled", {"published_at": timezone.now() + timedelta(days=1)}),
    ],
)
def test_who_may_read_unpublished_articles(
    client: Client, callers: People, article_make: Make, state: str, values: dict[str, Any]
) -> None:
    article = article_make(**values)
    article_make(title="Public")
    assert titles(client) == ["Public"]
    assert_problem(client.get(f"{URL}?state={state}"), 401, "not-authenticated")
    for role, sees in {"nobody": False, "other": False, "staff": False, "staff+delete": False}.items() | {
        "author": True,
        "staff+view": True,
        "change": True,
    }.items():
        headers = callers(role).headers
        response = client.get(f"{URL}/{article.pk}", **headers)
        assert response.status_code == (200 if sees else 404), role
        assert titles(client, **headers) == ["Public"], role
        if headers:
            assert titles(client, f"state={state}", **headers) == (["A title"] if sees else []), role


def test_author_filter_hides_drafts_of_others(client: Client, callers: People, article_make: Make) -> None:
    author = callers("author").user.pk
    article_make(published_at=None)
    assert titles(client, f"state=draft&author={author}", **callers("other").headers) == []
    assert titles(client, f"state=draft&author={author}", **callers("staff+view").headers) == ["A title"]
    assert titles(client, f"state=draft&author={author}", **callers("author").headers) == ["A title"]


def test_scheduled_article_appears_on_time(client: Client, article_make: Make) -> None:
    article = article_make(published_at=timezone.now() + timedelta(hours=1))
    assert titles(client) == []
    Article.objects.filter(pk=article.pk).update(published_at=timezone.now())  # as if time had passed
    caches_clear()  # as if the entry had expired
    assert titles(client) == ["A title"]
    assert client.get(f"{URL}/{article.pk}").status_code == 200


def test_orderings(client: Client, callers: People, article_make: Make) -> None:
    now = timezone.now()
    for hours, title in enumerate(["b", "c", "a"], start=1):
        article_make(title=title, published_at=now - timedelta(hours=hours))
        article_make(title=f"draft {title}", published_at=None)
    assert titles(client) == titles(client, "ordering=-published_at") == ["b", "c", "a"]
    assert titles(client, "ordering=published_at") == ["a", "c", "b"]
    assert titles(client, "ordering=title") == ["a", "b", "c"]
    assert titles(client, "ordering=-title") == ["c", "b", "a"]
    headers = callers("author").headers
    assert titles(client, "state=draft", **headers) == ["draft a", "draft c", "draft b"]
    assert titles(client, "state=draft&ordering=created_at", **headers) == ["draft b", "draft c", "draft a"]


def test_filters_by_tag_and_author(client: Client, callers: People, article_make: Make) -> None:
    article_make(title="both", tags=["python", "web"])
    article_make(title="one", tags=["python"])
    article_make(title="other", tags=["pythonic"], author=callers("other").user)
    assert sorted(titles(client, "tag=Python")) == ["both", "one"]
    assert titles(client, "tag=web") == ["both"]
    assert titles(client, f"author={callers('other').user.pk}") == ["other"]
    assert titles(client, f"author={callers('other').user.pk}&tag=web") == []


def test_search_finds_words_phrases_and_not_markup(client: Client, article_make: Make) -> None:
    article_make(title="Migrating databases", body="<p>The <strong>locks</strong> we met</p>")
    article_make(title="Gardens", body="<p>Locks for sheds and a migration of birds</p>")
    assert titles(client, "search=database") == ["Migrating databases"]
    assert titles(client, "search=migrate") == ["Gardens", "Migrating databases"]  # newest first, stems
    assert titles(client, "search=%22locks+we+met%22") == ["Migrating databases"]
    assert titles(client, "search=migration+-birds") == ["Migrating databases"]
    assert titles(client, "search=strong") == []
    assert titles(client, "search=%27%29%3B--+%26%7C%21%3A%2A") == []  # tsquery syntax is not an error


@pytest.mark.parametrize("word", ["zebrafish", "quokka", "wombat", "aardvark"])
def test_search_finds_words_beside_typographic_punctuation(client: Client, article_make: Make, word: str) -> None:
    article_make(title="Animals", body="<p>“Zebrafish” … quokka—and wombat… Aardvark’s</p>")  # noqa: RUF001 - meant
    assert titles(client, f"search={word}") == ["Animals"]


def test_ranked_search_puts_the_best_match_first(client: Client, article_make: Make) -> None:
    article_make(title="Pools", body="<p>pools, pools and pools</p>", published_at=timezone.now() - timedelta(days=9))
    article_make(title="Aside", body="<p>a word on pools in a longer text about something else</p>")
    assert titles(client, "search=pools") == ["Aside", "Pools"]
    page = client.get(f"{URL}?search=pools&ranked=true&fields=title").json()
    assert page == {"results": [{"title": "Pools"}, {"title": "Aside"}], "next": None, "previous": None}
    assert_problem(client.get(f"{URL}?ranked=true"), 400, "validation", pointer="?ranked")
    assert_problem(client.get(f"{URL}?ranked=true&search=a&ordering=title"), 400, "validation", pointer="?ranked")


def test_frequent_words_find_every_article(client: Client, article_make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more matches than are sorted, pages scan three rows each and may be short. Together they hold every match once."""
    monkeypatch.setattr("apps.practices.database.matching.SORTED_MAX", 2)
    monkeypatch.setattr("apps.practices.database.lists.SORTED_MAX", 2)
    monkeypatch.setattr("apps.practices.database.lists.SCANNED_MAX", 3)
    now = timezone.now()
    for number in range(12):
        word = "pools" if number in (0, 1, 7, 11) else "ponds"
        article_make(title=f"{word} {number}", tags=[word], published_at=now - timedelta(days=number + 1))
    expected = ["pools 0", "pools 1", "pools 7", "pools 11"]
    for query in ("search=pools", "tag=pools"):
        pages = []
        reference = f"{URL}?{query}&limit=2"
        while reference:
            page = client.get(reference).json()
            pages.append([row["title"] for row in page["results"]])
            last, reference = reference, page["next"]
        assert [title for page in pages for title in page] == expected, query
        assert len(pages) > 3, pages  # some are short, because the scan is bounded
        back = []
        reference = last
        while reference:
            page = client.get(reference).json()
            back = [row["title"] for row in page["results"]] + back
            reference = page["previous"]
        assert back == expected, query


def test_few_matches_are_sorted_and_paged_both_ways(client: Client, article_make: Make) -> None:
    now = timezone.now()
    for number in range(5):
        article_make(title=f"pools {number}", published_at=now - timedelta(days=number + 1))
    for ordering, expected in (("-published_at", "01234"), ("title", "01234"), ("-title", "43210")):
        first = client.get(f"{URL}?search=pools&limit=3&ordering={ordering}").json()
        second = client.get(first["next"]).json()
        assert "".join(row["title"][-1] for row in first["results"] + second["results"]) == expected
        assert second["next"] is None
        assert client.get(second["previous"]).json()["results"] == first["results"]


def test_ranking_reads_a_bounded_number_of_articles(
    client: Client, article_make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.practices.database.matching.SORTED_MAX", 2)
    monkeypatch.setattr("apps.practices.database.lists.SORTED_MAX", 2)
    monkeypatch.setattr("apps.practices.database.lists.SCANNED_MAX", 3)
    article_make(title="Pools pools pools", published_at=timezone.now() - timedelta(days=9))
    article_make(title="new", body="pools")
    article_make(title="newer", body="pools pools")
    assert titles(client, "search=pools&ranked=true") == ["newer", "new"]


def test_ordering_without_an_index_is_refused(client: Client, callers: People) -> None:
    headers = callers("author").headers
    refused = client.get(f"{URL}?state=scheduled&ordering=title", **headers)
    assert_problem(refused, 400, "validation", pointer="?ordering")


@pytest.mark.parametrize(
    "query",
    ["colour=red", "ordering=body", "limit=101", "limit=0", "fields=password", "state=gone", "author=me", "cursor=x"],
)
def test_unknown_parameter_is_named(client: Client, db: None, query: str) -> None:
    assert_problem(client.get(f"{URL}?{query}"), 400, "validation", pointer=f"?{query.partition('=')[0]}")


def test_detail_takes_no_parameters(client: Client, article_make: Make) -> None:
    assert_problem(client.get(f"{URL}/{article_make().pk}?fields=id"), 400, "validation", pointer="?fields")


def test_projection_reaches_the_sql(client: Client, article_make: Make) -> None:
    article_make()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert set(listed(client, "fields=title,slug")[0]) == {"title", "slug"}
    [select] = [query["sql"] for query in queries if "articles_article" in query["sql"]]
    columns = select.partition(" FROM ")[0]
    asked = set(re.findall(r'"articles_article"\."(\w+)"', columns))
    assert asked == {"title", "slug", "published_at", "id"}  # the last two make the cursor
    assert "accounts_user" not in select


def test_search_column_is_never_read(client: Client, callers: People, article_make: Make) -> None:
    article = article_make()
    headers = callers("author").headers
    with CaptureQueriesContext(connection) as queries:
        listed(client)
        client.get(f"{URL}/{article.pk}")
        client.patch(f"{URL}/{article.pk}", {"title": "x"}, "application/json", **headers)
    read = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert read
    assert not any('"search"' in sql for sql in read)


def test_reads_take_a_fixed_number_of_queries(client: Client, article_make: Make) -> None:
    articles = [article_make(title=f"t{number}") for number in range(5)]
    paths = {URL: 1, f"{URL}?limit=1&ordering=title": 1, f"{URL}?search=t1": 2, f"{URL}/{articles[0].pk}": 1}
    for path, expected in paths.items():
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path).status_code == 200
        assert len(queries) == expected, [query["sql"] for query in queries]


@pytest.mark.parametrize("ordering", ["-published_at", "published_at", "title", "-title"])
def test_pages_are_stable_under_writes(client: Client, article_make: Make, ordering: str) -> None:
    moment = timezone.now() - timedelta(hours=1)
    mine = {article_make(title=f"t{n % 3}", published_at=moment + timedelta(minutes=n // 4)).pk for n in range(23)}
    seen: list[str] = []
    ref: str | None = f"{URL}?limit=5&ordering={ordering}&fields=id"
    back = None
    while ref:
        page = client.get(ref).json()
        seen += [row["id"] for row in page["results"]]
        ref, back = page["next"], page["previous"]
        for published_at in (moment - timedelta(days=1), timezone.now()):
            article_make(title=f"t{len(seen) % 4}", published_at=published_at)
        caches_clear()
    assert len(seen) == len(set(seen))
    assert mine <= {uuid.UUID(one) for one in seen}
    assert back
    assert back.startswith("/api/v1/articles?")
    assert client.get(back).json()["next"]


def test_cursor_is_bound_to_its_list(client: Client, article_make: Make) -> None:
    for number in range(3):
        article_make(title=f"t{number}")
    ref = client.get(f"{URL}?limit=1").json()["next"]
    cursor = ref.partition("cursor=")[2]
    assert_problem(client.get(f"{URL}?limit=1&tag=x&cursor={cursor}"), 400, "validation", pointer="?cursor")
    assert_problem(client.get(f"{URL}?limit=1&cursor={cursor[:-2]}"), 400, "validation", pointer="?cursor")


def test_etag_has_version_and_hash(client: Client, callers: People, article_make: Make) -> None:
    article = article_make()
    for headers in ({}, callers("other").headers):
        first = client.get(f"{URL}/{article.pk}", **headers)
        assert re.fullmatch(r'"1\.[0-9a-f]{8,}"', first["ETag"])
        for tag in (first["ETag"], f"W/{first['ETag']}", first["ETag"][:-1] + '-gzip"'):
            again = client.get(f"{URL}/{article.pk}", HTTP_IF_NONE_MATCH=tag, **headers)
            assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
        assert client.get(f"{URL}/{article.pk}", HTTP_IF_NONE_MATCH='"1.0"', **headers).status_code == 200
    tag = client.get(URL)["ETag"]
    assert client.get(URL, HTTP_IF_NONE_MATCH=tag).status_code == 304


@pytest.mark.parametrize("age", [-1, 1, None])
@pytest.mark.parametrize("permission", [(), ("articles.view_article",), ("articles.change_article",)])
def test_readable_matches_what_can_be_read(
    author: Caller, article_make: Make, age: int | None, permission: tuple[str, ...]
) -> None:
    now = timezone.now()
    article = article_make(published_at=None if age is None else now + timedelta(hours=age))
    for viewer in (author.user, user_create(permissions=permission), AnonymousUser()):
        allowed = may_read(viewer, author_id=article.author_id, published_at=article.published_at, now=now)
        assert article_readable(viewer).filter(pk=article.pk).exists() is allowed
