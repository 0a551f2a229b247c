"""The articles of an author in the export of personal data, and after the deletion of the account."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from apps.accounts.services.deletion import user_delete
from apps.articles.models import Article
from apps.jobs.tasks import job_run
from tests.apps.accounts.factories import PASSWORD
from tests.apps.articles.conftest import Caller


@pytest.mark.django_db
def test_export_has_the_users_articles(client: Client, author: Caller, article_make: Callable[..., Article]) -> None:
    article_make(title="Public")
    article_make(title="A draft", published_at=None)
    job = client.generic("POST", "/api/v1/me/export", content_type="", **author.headers).json()
    job_run(job["id"])
    answer = client.get(f"/api/v1/jobs/{job['id']}/result", **author.headers)
    lines = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert [line["row"]["title"] for line in lines if line["of"] == "articles"] == ["Public", "A draft"]


@pytest.mark.django_db(transaction=True)
def test_deletion_keeps_published_articles_only(
    client: Client, author: Caller, article_make: Callable[..., Article], callers: Callable[[str], Caller]
) -> None:
    """Caches change at once: a scheduled article must not appear after its author's account was deleted."""
    article, others = article_make(), article_make(author=callers("other").user, published_at=None)
    article_make(published_at=None)
    article_make(published_at=timezone.now() + timedelta(seconds=30))
    path = f"/api/v1/articles/{article.pk}"
    before = client.get(path)
    assert before.json()["author"] == {"id": str(author.user.pk), "name": author.user.name}
    assert author.user.name in client.get("/api/v1/articles").content.decode()
    answer = client.delete("/api/v1/me", {"password": PASSWORD}, content_type="application/json", **author.headers)
    assert answer.status_code == 204
    after = client.get(path, headers={"if-none-match": before.headers["ETag"]})
    assert after.status_code == 200
    assert after.json()["author"] is None
    assert author.user.name not in client.get("/api/v1/articles").content.decode()
    assert set(Article.objects.values_list("pk", flat=True)) == {article.pk, others.pk}


@pytest.mark.django_db(transaction=True)
def test_failed_deletion_deletes_nothing(author: Caller, article_make: Callable[..., Article]) -> None:
    article_make(published_at=None)
    with transaction.atomic():
        user_delete(user=author.user, now=timezone.now())
        assert not Article.objects.exists()
        transaction.set_rollback(True)
    assert Article.objects.count() == 1
