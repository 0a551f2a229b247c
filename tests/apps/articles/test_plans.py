"""Each order of each list is read from an index, in order: PostgreSQL says so itself."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.request import Request

from apps.articles.filters import ARTICLES, DRAFTS
from apps.articles.selectors import State, article_list
from apps.practices.database.lists import KeysetList
from tests.apps.articles.conftest import Somebody

ROWS = 5_000
FILL = """
    INSERT INTO articles_article
        (id, slug, title, body, summary, tags, author_id, published_at, created_at, updated_at, version)
    SELECT gen_random_uuid(), 'slug-' || n, 'Title ' || md5(n::text), 'word' || n %% 500, '', ARRAY['tag' || n %% 500], %s,
        CASE WHEN n %% 2 = 0 THEN now() - n * interval '1 minute' END, now() - n * interval '1 minute', now(), 1
    FROM generate_series(1, %s) AS n
"""


@pytest.fixture
def filled(author: Somebody) -> None:
    with connection.cursor() as cursor:
        cursor.execute(FILL, [author.user.pk, ROWS])
        for index in ("articles_search", "articles_tags"):  # as autovacuum does: else a long pending list is to be read
            cursor.execute("SELECT gin_clean_pending_list(%s::regclass)", [index])
        cursor.execute("ANALYZE articles_article")


def plan(declared: KeysetList, query: str, **filters: Any) -> str:
    request = Request(RequestFactory().get(f"/api/v1/articles?{query}"))
    parsed = declared.parse(request)
    with CaptureQueriesContext(connection) as queries:
        declared.read(parsed, article_list(now=timezone.now(), **{**parsed.filters, **filters}))
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {queries[0]['sql']}")
        return "\n".join(line for (line,) in cursor.fetchall())


def test_lists_are_read_in_the_order_of_an_index(filled: None, author: Somebody) -> None:
    mine = author.user.pk
    cases = [(ARTICLES, ordering, filters) for ordering in ARTICLES.orderings for filters in ({}, {"author": mine})]
    drafts: tuple[dict[str, Any], ...] = ({"state": State.DRAFT}, {"state": State.DRAFT, "within": mine})
    cases += [(DRAFTS, ordering, filters) for ordering in DRAFTS.orderings for filters in drafts]
    for declared, ordering, filters in cases:
        found = plan(declared, f"ordering={ordering}", **filters)
        assert "Index Scan" in found, (ordering, filters, found)
        assert "Sort" not in found, (ordering, filters, found)
        assert "Seq Scan on articles_article" not in found, (ordering, filters, found)


@pytest.mark.parametrize(("query", "index"), [("search=word7", "articles_search"), ("tag=tag7", "articles_tags")])
def test_rare_words_and_tags_are_found_by_their_index(filled: None, query: str, index: str) -> None:
    found = plan(ARTICLES, query)
    assert f"Bitmap Index Scan on {index}" in found, found
