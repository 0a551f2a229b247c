"""The objects and bodies for tests/test_access.py, which tries every operation in operations.txt."""

from datetime import timedelta

from django.utils import timezone

from apps.accounts.models import User
from apps.articles.models import Article
from apps.articles.services import article_create


def _published(owner: User) -> Article:
    return article_create(
        author=owner, title="Published", body="<p>Text</p>", published_at=timezone.now() - timedelta(hours=1)
    )


OBJECTS = {
    "published": _published,
    "draft": lambda owner: article_create(author=owner, title="A draft", body="<p>Text</p>"),
}
BODIES = {
    "articles_create": {"title": "New", "body": "<p>New</p>"},
    "articles_replace": {"title": "Replaced", "body": "<p>Replaced</p>", "tags": ["a"]},
    "articles_update": {"title": "Changed"},
    "articles_export": {"format": "ndjson", "tag": "a"},
    "articles_import": {"file": b"title,body\nOne,<p>One</p>\n"},
}
