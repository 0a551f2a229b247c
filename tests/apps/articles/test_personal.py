"""What an author gets of what they wrote, and what stays of it when they leave."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.test import Client

from apps.articles.models import Article
from apps.jobs.tasks import job_run
from apps.practices.caching.testing import caches_forget
from tests.apps.accounts.factories import PASSWORD
from tests.apps.articles.conftest import Somebody


@pytest.mark.django_db
def test_authors_get_what_they_wrote(client: Client, author: Somebody, article_make: Callable[..., Article]) -> None:
    article_make(title="Public")
    article_make(title="A draft", published_at=None)
    job = client.generic("POST", "/api/v1/me/export", content_type="", **author.headers).json()
    job_run(job["id"])
    answer = client.get(f"/api/v1/jobs/{job['id']}/result", **author.headers)
    lines = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert [line["row"]["title"] for line in lines if line["of"] == "articles"] == ["Public", "A draft"]


@pytest.mark.django_db(transaction=True)
def test_what_was_published_stays_without_its_author(
    client: Client, author: Somebody, article_make: Callable[..., Article]
) -> None:
    article, draft = article_make(), article_make(published_at=None)
    path = f"/api/v1/articles/{article.pk}"
    before = client.get(path)
    assert before.json()["author"] == {"id": str(author.user.pk), "name": author.user.name}
    answer = client.delete("/api/v1/me", {"password": PASSWORD}, content_type="application/json", **author.headers)
    assert answer.status_code == 204
    caches_forget()  # which end by themselves within a minute
    after = client.get(path, headers={"if-none-match": before.headers["ETag"]})
    assert after.status_code == 200, "a client's copy, with the name in it, would have counted as fresh"
    assert {**after.json(), "author": before.json()["author"]} == before.json()
    assert after.json()["author"] is None
    assert client.get(f"/api/v1/articles/{draft.pk}").status_code == 404
    assert set(Article.objects.values_list("author", flat=True)) == {None}
