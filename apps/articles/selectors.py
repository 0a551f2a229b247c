"""Every read of articles. Lists stay querysets: their declaration in ``filters`` adds the order, the page and the columns."""

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
from apps.practices.database.prepared import prepared
from apps.practices.errors import NotFound

Viewer = AbstractBaseUser | AnonymousUser


class State(models.TextChoices):
    """The state of an article, which follows from ``published_at`` and the clock."""

    PUBLISHED = "published"
    SCHEDULED = "scheduled"
    DRAFT = "draft"


def _author(row: Mapping[str, Any]) -> dict[str, Any] | None:
    return row["author_id"] and {"id": row["author_id"], "name": row["author__name"]}


# The fields that the API shows, and the columns that each is made of. Reads select these columns and no others.
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
_COLUMNS = tuple(dict.fromkeys(column for field in ARTICLE_FIELDS.values() for column in field.columns))
_PLAIN_WORDS = re.compile(r"(?:[^\W_]|\s)+")
_PHRASE_OPERATOR = re.compile(r"<(?:-|\d+)>(?=(?:[^']|'[^']*')*$)")  # outside quotes


def article_may_read_all(viewer: Viewer) -> bool:
    """Return whether the viewer may read everybody's drafts: the permission to change articles includes reading them."""
    permissions = (f"articles.{action}_article" for action in ("view", "change"))
    return isinstance(viewer, PermissionsMixin) and any(map(viewer.has_perm, permissions))


def article_readable(viewer: Viewer, *, now: datetime | None = None) -> QuerySet[Article]:
    """Return the articles that the viewer may read, and therefore reference from another resource."""
    if article_may_read_all(viewer):
        return Article.objects.all()
    public = Q(published_at__lte=now or timezone.now())
    return Article.objects.filter(public | Q(author_id=viewer.pk) if viewer.is_authenticated else public)


def article_list(
    *, now: datetime, state: str = State.PUBLISHED, author: UUID | None = None, restricted_to: UUID | None = None
) -> QuerySet[Article]:
    """Return the articles in a state at ``now``, by ``author`` and by ``restricted_to`` if given.

    ``author`` is what the caller asks for, ``restricted_to`` the only author whose articles the caller may see.
    """
    articles = Article.objects.all()
    match state:
        case State.PUBLISHED:
            articles = articles.filter(published_at__lte=now)
        case State.SCHEDULED:
            articles = articles.filter(published_at__gt=now)
        case State.DRAFT:
            articles = articles.filter(published_at__isnull=True)
    for author_id in (author, restricted_to):
        if author_id is not None:
            articles = articles.filter(author_id=author_id)
    return articles


def article_list_ranked(*, ids: Sequence[UUID], text: str, columns: Sequence[str], limit: int) -> list[dict[str, Any]]:
    """Return the columns of the ``limit`` best matches for ``text`` among the articles with these ids.

    Ranking reads the whole text of each article, so bound the number of ids.
    """
    ranked = Article.objects.filter(pk__in=ids).alias(rank=SearchRank(F("search"), _search_query(text)))
    return list(ranked.order_by("-rank", "-id").values(*columns)[:limit])


def article_read(*, article_id: UUID) -> dict[str, Any]:
    """Return one article as the API shows it, with one query. Raise ``NotFound`` (404) if it does not exist."""
    row = _article_row.first(article_id=article_id)
    if row is None:
        raise NotFound()
    return {name: field.value(row) for name, field in ARTICLE_FIELDS.items()}


@prepared
def _article_row(*, article_id: UUID) -> QuerySet[Article, Any]:
    return Article.objects.filter(pk=article_id).values(*_COLUMNS)


def article_get(*, article_id: UUID) -> Article:
    """Return one article for writing. Raise ``NotFound`` (404) if it does not exist."""
    article = Article.objects.defer("search").filter(pk=article_id).first()
    if article is None:
        raise NotFound()
    return article


def article_tag_filter(tag: str) -> Q:
    return Q(tags__contains=[tag])


def article_search_filter(text: str) -> Q:
    """Return the condition that title or body match what a user typed into a search box.

    PostgreSQL's websearch_to_tsquery understands words, "phrases", or, and -not.
    """
    return Q(search=_search_query(text))


def article_search_prefilter(text: str) -> Q:
    """Return a condition that the GIN index answers alone and that every match for ``text`` meets, or an empty one.

    The index knows neither the order of words nor which rows lack a word. So a phrase is reduced to its words (a word with
    punctuation is a phrase, too), and excluded words are left out.
    """
    if _PLAIN_WORDS.fullmatch(text):
        return Q(search=_search_query(text))
    with connections[Article.objects.all().db].cursor() as cursor:
        cursor.execute("SELECT querytree(websearch_to_tsquery(%s::text::regconfig, %s::text))", [SEARCH_CONFIG, text])
        (words,) = cursor.fetchone()
    return Q() if words in ("", "T") else Q(search=_RawQuery(_PHRASE_OPERATOR.sub("&", words)))


class _RawQuery(SearchQuery):
    """A query in tsquery syntax, whose words are stemmed already."""

    template = "(%(expressions)s)::tsquery"


def _search_query(text: str) -> SearchQuery:
    return SearchQuery(text, config=SEARCH_CONFIG, search_type="websearch")
