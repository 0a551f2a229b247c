"""The size of pages: bodies are included on request, and then a page ends early."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.articles.models import Article
from apps.practices.database.scans import PAGE_BYTES
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db
URL = "/api/v1/articles"
COUNT = 30
BODY = "\N{CJK UNIFIED IDEOGRAPH-8C48}" * 33_000  # three bytes each: 10 of them are about a page


@pytest.fixture
def titles(article_make: Callable[..., Article]) -> list[str]:
    now = timezone.now()
    for number in range(COUNT):
        body = BODY if number else "x"
        article_make(title=f"fox {number:02}", body=body, published_at=now - timedelta(hours=1 + number))
    return [f"fox {number:02}" for number in range(COUNT)]


def walked(client: Client, reference: str | None, *, step: str = "next") -> list[dict[str, Any]]:
    pages = []
    while reference:
        response = client.get(reference)
        assert response.status_code == 200
        assert len(response.content) < PAGE_BYTES + 64 * 1024
        pages.append(response.json())
        reference = pages[-1][step]
    return pages


@pytest.mark.parametrize("query", ["", "&search=fox", "&ordering=title"])
def test_pages_with_bodies_end_early(client: Client, titles: list[str], query: str) -> None:
    pages = walked(client, f"{URL}?limit=100&fields=title,body{query}")
    assert [row["title"] for page in pages for row in page["results"]] == titles
    assert all(len(page["results"]) >= 10 for page in pages[:-1])
    assert len(pages) == 3
    back = walked(client, pages[-1]["previous"], step="previous")
    shown = [row["title"] for page in reversed(back) for row in page["results"]]
    assert shown == titles[: len(shown)]
    assert len(shown) == COUNT - len(pages[-1]["results"])


def test_list_has_bodies_on_request_only(client: Client, titles: list[str]) -> None:
    (page,) = walked(client, f"{URL}?limit=100")
    assert [row["title"] for row in page["results"]] == titles
    assert not any("body" in row for row in page["results"])
    problem = client.get(f"{URL}?search=fox&ranked=true&fields=title,body")
    assert_problem(problem, 400, "validation", pointer="?fields")


def test_row_larger_than_a_page(client: Client, titles: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.practices.database.scans.PAGE_BYTES", 1_000)
    pages = walked(client, f"{URL}?limit=3&fields=title,body")
    assert [row["title"] for page in pages for row in page["results"]] == titles
    assert {len(page["results"]) for page in pages} == {1}
