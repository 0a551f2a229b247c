"""``manage.py demo``: sample articles for a new installation."""

import random
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.services.demo import DEMO_PASSWORD, DemoRefused, demo_user_create
from apps.articles.models import Article
from apps.articles.services import article_create, slug_from_title

MONTHS = 12
SUBJECTS = {
    "connection pools": ("database", "performance"),
    "keyset pagination": ("database", "api"),
    "refresh tokens": ("security", "accounts"),
    "cache invalidation": ("caching", "performance"),
    "background jobs": ("jobs", "reliability"),
    "rate limits": ("security", "api"),
    "structured logs": ("observability", "operations"),
    "rolling deploys": ("operations", "reliability"),
    "full-text search": ("search", "database"),
    "content security policies": ("security", "frontend"),
    "error documents": ("api", "errors"),
    "schema migrations": ("database", "operations"),
    "health checks": ("operations", "observability"),
    "load tests": ("performance", "testing"),
    "graceful shutdown": ("operations", "reliability"),
    "input validation": ("security", "testing"),
    "import pipelines": ("jobs", "database"),
    "release notes": ("writing", "team"),
    "code review": ("team", "testing"),
    "incident reviews": ("team", "reliability"),
}
TITLES = (
    "A short introduction to {}",
    "What we learned about {} this year",
    "{}, explained with one picture",
    "Five mistakes with {}",
    "How to test {}",
    "{} on a small budget",
    "Before you change {}",
    "Measuring {}",
    "{}: questions from readers",
    "A checklist for {}",
)
SENTENCES = (
    "We had written about {0} before, but never with numbers.",
    "The first version of our {0} lasted two years, which is longer than it deserved.",
    "Most of what one reads about {0} leaves out the day on which something fails.",
    "Start with the case that hurts: a busy hour, a slow disk, and nobody on call.",
    "It took one afternoon to change, and a week to be sure.",
    "Our rule since then is plain: measure first, then write it down, then change one thing.",
    "The graph that convinced us shows the slowest one in a hundred, not the average.",
    "None of this is new, and that is what we like about it.",
    "When {0} fail, they fail for everybody at once.",
    "A colleague asked why we do not buy this. We tried, and came back to building {0} ourselves.",
    "The code became shorter, the tests became longer, and the alarms became rare.",
    "If you remember one thing about {0}: somebody will have to maintain all this.",
)

ARTICLES_MAX = len(SUBJECTS) * len(TITLES)


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
    titles = list(product(TITLES, SUBJECTS))[:count]
    for number, (title, subject) in enumerate(titles):
        age = timedelta(days=365 * MONTHS / 12 * number / len(titles), minutes=chance.randrange(600))
        paragraphs = [" ".join(chance.sample(SENTENCES, 4)).format(subject) for _ in range(chance.randrange(2, 6))]
        text = title.format(subject)
        yield {
            "title": text[0].upper() + text[1:],
            "body": f"<h2>About {subject}</h2>" + "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs),
            "tags": [*SUBJECTS[subject], chance.choice(("notes", "guide", "story"))],
            "published_at": now - age - timedelta(hours=1),
        }
