"""Every read of articles. Lists stay querysets: their declaration in `filters` adds order, page and columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin
from django.contrib.postgres.search import SearchQuery, SearchRank
from django.db import connections, models
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from apps.articles.models import SEARCH_CONFIG, Article
from apps.practices.database.declarations import Projected
from apps.practices.errors import NotFound

Viewer = AbstractBaseUser | AnonymousUser


class State(models.TextChoices):
    """Where an article stands; it follows from `published_at` and the clock."""

    PUBLISHED = "published"
    SCHEDULED = "scheduled"
    DRAFT = "draft"


def _author(row: Mapping[str, Any]) -> dict[str, Any] | None:
    return row["author_id"] and {"id": row["author_id"], "name": row["author__name"]}


# What the API shows: name in the answer, and the columns it is made of. Reads ask for these columns and no others.
ARTICLE_FIELDS: dict[str, Projected] = {
    "id": Projected("id"),
    "slug": Projected("slug"),
    "title": Projected("title"),
    "body": Projected("body"),
    "summary": Projected("summary"),
    "tags": Projected("tags"),
    "author": Projected("author_id", "author__name", shape=_author),
    "published_at": Projected("published_at"),
    "created_at": Projected("created_at"),
    "updated_at": Projected("updated_at"),
    "version": Projected("version"),
}
_WORDS = re.compile(r"(?:[^\W_]|\s)+")  # a text that asks for words alone
_ADJACENT = re.compile(r"<(?:-|\d+)>(?=(?:[^']|'[^']*')*$)")  # the operator of phrases, outside of quotes
_COLUMNS = tuple(dict.fromkeys(column for field in ARTICLE_FIELDS.values() for column in field.columns))


def article_may_read_all(viewer: Viewer) -> bool:
    """Say whether others' drafts are open to the viewer: to see is less than to change, so either permission does."""
    permissions = (f"articles.{action}_article" for action in ("view", "change"))
    return isinstance(viewer, PermissionsMixin) and any(map(viewer.has_perm, permissions))


def article_readable(viewer: Viewer, *, now: datetime | None = None) -> QuerySet[Article]:
    """Return the articles that the viewer may read: what another resource may refer to in their name."""
    if article_may_read_all(viewer):
        return Article.objects.all()
    public = Q(published_at__lte=now or timezone.now())
    return Article.objects.filter(public | Q(author_id=viewer.pk) if viewer.is_authenticated else public)


def article_list(
    *,
    now: datetime,
    state: str = State.PUBLISHED,
    author: UUID | None = None,
    within: UUID | None = None,
) -> QuerySet[Article]:
    """Give the articles in a state at `now`; `author` narrows, and so does `within`, the author one is confined to."""
    articles = Article.objects.all()
    match state:
        case State.PUBLISHED:
            articles = articles.filter(published_at__lte=now)
        case State.SCHEDULED:
            articles = articles.filter(published_at__gt=now)
        case State.DRAFT:
            articles = articles.filter(published_at__isnull=True)
    for author_id in (author, within):
        if author_id is not None:
            articles = articles.filter(author_id=author_id)
    return articles


def article_tagged(tag: str) -> Q:
    """Give the condition of having a tag."""
    return Q(tags__contains=[tag])


def article_worded(text: str) -> Q:
    """Give the condition that title or body answer what somebody typed into a search box.

    Words, "phrases", or, and -not are understood (PostgreSQL's websearch_to_tsquery).
    """
    return Q(search=_typed(text))


def article_found_by(text: str) -> Q:
    """Give a condition that the index of words answers alone and that every answer to `text` meets; empty where there is none.

    The index has no order of words, and cannot tell who lacks one: of a phrase, its words are asked for (a word with punctuation
    is one, too), and what must not be there is not.
    """
    if _WORDS.fullmatch(text):
        return Q(search=_typed(text))
    with connections[Article.objects.all().db].cursor() as cursor:
        cursor.execute("SELECT querytree(websearch_to_tsquery(%s::text::regconfig, %s::text))", [SEARCH_CONFIG, text])
        (words,) = cursor.fetchone()
    return Q() if words in ("", "T") else Q(search=_Words(_ADJACENT.sub("&", words)))


class _Words(SearchQuery):
    """A query in PostgreSQL's own spelling, whose words are neither parsed nor stemmed again."""

    template = "(%(expressions)s)::tsquery"


def article_ranked(*, ids: Sequence[UUID], text: str, columns: Sequence[str], limit: int) -> list[dict[str, Any]]:
    """Give the columns of the `limit` best answers to `text` among the articles of these ids.

    Ranking reads the whole text of each: give a bounded number of ids.
    """
    ranked = Article.objects.filter(pk__in=ids).alias(rank=SearchRank(F("search"), _typed(text)))
    return list(ranked.order_by("-rank", "-id").values(*columns)[:limit])


def article_read(*, article_id: UUID) -> dict[str, Any]:
    """Give one article in the shape of the API, by one query. Raises `NotFound` (404)."""
    row = Article.objects.filter(pk=article_id).values(*_COLUMNS).first()
    if row is None:
        raise NotFound()
    return {name: field.value(row) for name, field in ARTICLE_FIELDS.items()}


def article_get(*, article_id: UUID) -> Article:
    """Give one article to write to. Raises `NotFound` (404)."""
    article = Article.objects.defer("search").filter(pk=article_id).first()
    if article is None:
        raise NotFound()
    return article


def _typed(text: str) -> SearchQuery:
    return SearchQuery(text, config=SEARCH_CONFIG, search_type="websearch")
