"""The cost of searches: a phrase reads few rows, and few searches run at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apps.articles.models import Article
from apps.articles.selectors import article_list, article_search_filter, article_search_prefilter
from apps.practices.database import matching
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db
URL = "/api/v1/articles"
BODIES = (
    "red fox jumps", "fox red", "the red quick fox", "blue whale", "can't stop", "see https://example.com/a-b/c?x=1",
    "well-known state-of-the-art red-fox", "mail a.b@example.com", "it's 3.14 or -5", "T", "a <b> & c | d",
    "o'neill's 'quoted' <-> words",
)  # fmt: skip
PIECES = [
    "red",
    "fox",
    '"',
    " ",
    "-",
    "or",
    "the",
    "T",
    "can't",
    "https://example.com/a-b",
    "red-fox",
    "<->",
    "'",
    "&",
    "!",
]


def found(condition: object) -> set[object]:
    return set(Article.objects.filter(condition).values_list("pk", flat=True))


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join))
@hypothesis_settings(
    derandomize=True, deadline=None, database=None, max_examples=200, suppress_health_check=list(HealthCheck)
)
def test_prefilter_finds_every_match(article_make: Callable[..., Article], text: str) -> None:
    if not Article.objects.exists():
        for number, body in enumerate(BODIES):
            article_make(title=f"t{number}", body=body)
    candidates = article_search_prefilter(text)
    assert not candidates or found(article_search_filter(text)) <= found(candidates)


@pytest.mark.parametrize(
    ("text", "is_indexed"),
    [('"red fox"', True), ("red-fox", True), ('red -"fox whale"', True), ("-red", False), ("red or -fox", False)],
)
def test_phrase_is_prefiltered_by_its_words(text: str, is_indexed: bool, article_make: Callable[..., Article]) -> None:
    """The index alone answers a query without phrases and exclusions, so that no row is read in vain."""
    for number in range(50):
        article_make(title=f"t{number}", body="fox and red")
    hit = article_make(title="hit", body="a red fox, or red-fox")
    rows = article_list(now=timezone.now())
    with CaptureQueriesContext(connection) as queries:
        few = matching.MatchingFilters([(_search(), text)]).all_keys(rows)
    fenced = [one["sql"] for one in queries if "MATERIALIZED" in one["sql"]]
    assert bool(fenced) == is_indexed
    if is_indexed:
        assert "websearch" not in fenced[0]
        assert "<->" not in fenced[0]
        assert hit.pk in few
        assert set(few) == found(article_search_filter(text))


def _search() -> matching.Matching:
    from apps.articles.filters import ARTICLES

    declared = ARTICLES.filters["search"]
    assert isinstance(declared, matching.Matching)
    return declared


def test_too_many_searches_get_503(client: Client, article_make: Callable[..., Article]) -> None:
    article_make(title="Pools", body="red fox")
    with ExitStack() as running:
        for _ in range(settings.DATABASE_SEARCHES):
            running.enter_context(matching.searching())
        problem = client.get(f"{URL}?search=fox&limit=7")
        assert_problem(problem, 503, "too-many-searches")
        assert problem.headers["Retry-After"] == "1"
        assert_problem(client.get(f"{URL}?search=fox&ranked=true"), 503, "too-many-searches")
        assert client.get(URL).status_code == 200
    assert client.get(f"{URL}?search=fox&limit=7").status_code == 200
