"""``manage.py demo``: sample data, in dev and test only."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from apps.articles.models import Article
from tests.processes import manage_away


def test_demo_creates_articles_and_an_account(client: Client, db: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("demo")
    said = capsys.readouterr().out
    articles = Article.objects.all()
    assert len(articles) == 200
    assert len({article.published_at.strftime("%Y-%m") for article in articles if article.published_at}) >= 12
    assert all(timezone.now() - timedelta(days=366) < article.published_at < timezone.now() for article in articles)  # type: ignore[operator]  # none is a draft
    assert all(2 <= len(article.tags) <= 3 for article in articles)
    assert len(client.get("/api/v1/articles?limit=100&tag=database").json()["results"]) >= 30
    email, _, password = said.partition("Sign in as ")[2].strip().partition(" with the password ")
    answer = client.post("/api/v1/auth/login", {"email": email, "password": password}, "application/json")
    assert answer.status_code == 200


def test_demo_twice_adds_nothing(db: None) -> None:
    call_command("demo", articles=10, verbosity=0)
    call_command("demo", articles=10, verbosity=0)
    assert Article.objects.count() == 10


@pytest.mark.parametrize("articles", [-1, 0, 201])
def test_demo_refuses_too_many_articles(db: None, articles: int) -> None:
    with pytest.raises(CommandError, match="from 1 to 200"):
        call_command("demo", articles=articles)
    assert not Article.objects.exists()


def test_demo_without_a_database() -> None:
    ran = manage_away("demo")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Cannot use PostgreSQL at "), ran.stderr


def test_demo_runs_in_dev_and_test_only(db: None, settings: object) -> None:
    settings.ENVIRONMENT_NAME = "prod"  # type: ignore[attr-defined]  # pytest-django's wrapper
    with pytest.raises(CommandError, match="dev and test"):
        call_command("demo")
    assert not Article.objects.exists()
