"""``manage.py demo``: sample articles for a new installation."""

import json
import random
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.services.demo import DEMO_PASSWORD, DemoRefused, demo_user_create
from apps.articles.models import Article
from apps.articles.services import article_create, slug_from_title

MONTHS = 12
# Subjects with their tags, and patterns of titles and sentences about them.
TEXTS: dict[str, Any] = json.loads(Path(__file__).parents[2].joinpath("demo.json").read_text(encoding="utf-8"))
ARTICLES_MAX = len(TEXTS["subjects"]) * len(TEXTS["titles"])


class Command(BaseCommand):
    help = "Create a demo account and 200 articles of the last twelve months (dev and test only). Existing articles are kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--articles", type=int, default=ARTICLES_MAX, help=f"number of articles (default: {ARTICLES_MAX})"
        )

    def handle(self, *, articles: int, **options: Any) -> None:
        if not 1 <= articles <= ARTICLES_MAX:
            raise CommandError(f"--articles must be a number from 1 to {ARTICLES_MAX}.")
        try:
            author = demo_user_create()
        except DemoRefused as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(self._write(articles, author))

    def _write(self, articles: int, author: User) -> str:
        wanted = list(_articles(articles, now=timezone.now()))
        slugs = {slug_from_title(article["title"]) for article in wanted}
        existing = set(Article.objects.filter(slug__in=slugs).values_list("slug", flat=True))
        missing = [article for article in wanted if slug_from_title(article["title"]) not in existing]
        with transaction.atomic():  # one commit invalidates the caches once
            for article in missing:
                article_create(author=author, **article)
        return (
            f"{len(missing)} articles created, {len(existing)} already existed.\n"
            f"Sign in as {author.email} with the password {DEMO_PASSWORD}"
        )


def _articles(count: int, *, now: datetime) -> Iterator[dict[str, Any]]:
    """Yield the same articles in every run, dated over the MONTHS before ``now``."""
    chance = random.Random(7)  # noqa: S311 - sample texts, not secrets
    titles = list(product(TEXTS["titles"], TEXTS["subjects"]))[:count]
    for number, (title, subject) in enumerate(titles):
        age = timedelta(days=365 * MONTHS / 12 * number / len(titles), minutes=chance.randrange(600))
        paragraphs = [
            " ".join(chance.sample(TEXTS["sentences"], 4)).format(subject) for _ in range(chance.randrange(2, 6))
        ]
        text = title.format(subject)
        yield {
            "title": text[0].upper() + text[1:],
            "body": f"<h2>About {subject}</h2>" + "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs),
            "tags": [*TEXTS["subjects"][subject], chance.choice(("notes", "guide", "story"))],
            "published_at": now - age - timedelta(hours=1),
        }
