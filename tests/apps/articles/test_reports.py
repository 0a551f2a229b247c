"""The report counts public articles only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.test import Client

from apps.articles.models import Article
from apps.articles.reports import article_words
from apps.jobs.tasks import job_run
from tests.apps.articles.conftest import Caller
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db


def test_words_tags_and_months(client: Client, author: Caller, article_make: Callable[..., Article]) -> None:
    may, june = datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
    article_make(title="Tide tables", body="<p>The tide &amp; the moon</p>", tags=["sea", "sky"], published_at=may)
    article_make(title="Tide again", body="<p>Élan</p>", tags=["sea"], published_at=june)
    article_make(title="Secret draft", body="nobody", published_at=None)
    answer = client.generic("POST", "/api/v1/articles/reports", content_type="", **author.headers)
    assert answer.status_code == 202
    job_run(answer.json()["id"])
    report = client.get(answer.headers["Location"], **author.headers).json()["result"]
    assert report["articles"] == 2
    assert report["words"]["top"][:2] == [{"word": "tide", "count": 3}, {"word": "the", "count": 2}]
    assert report["words"]["total"] == 9
    assert report["tags"] == {
        "total": 3,
        "distinct": 2,
        "top": [{"tag": "sea", "count": 2}, {"tag": "sky", "count": 1}],
    }
    assert report["months"] == [
        {"month": "2024-05", "articles": 1, "words": 6},
        {"month": "2024-06", "articles": 1, "words": 3},
    ]
    assert "secret" not in str(report)


def test_report_takes_no_parameters(client: Client, author: Caller) -> None:
    answer = client.post("/api/v1/articles/reports", {"x": 1}, content_type="application/json", **author.headers)
    assert_problem(answer, 400, "validation", pointer="/x")


def test_words() -> None:
    assert list(article_words("A Title", "<b>don't</b> 42 x2 naïve")) == ["title", "don", "naïve"]
