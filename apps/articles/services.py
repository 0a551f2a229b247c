"""Every write to articles: where text has become clean, versions move, and caches learn of the change.

A caller hands in values that `serializers.ArticleWriteSerializer` has validated and cleaned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from apps.articles.models import SUMMARY_LENGTH, TITLE_LENGTH, Article
from apps.practices.caching import tags_change
from apps.practices.database.writes import row_insert, version_delete, version_update
from apps.practices.errors import Conflict, FieldError
from apps.practices.validation.slugs import slug_from
from apps.practices.validation.text import plain_from_html

CACHE_TAG = "articles"
SLUG_ATTEMPTS = 3
BATCH = 10_000  # a statement takes 65,535 values


class SlugTaken(Conflict):
    """The slug that the client chose belongs to another article."""

    type = "slug-taken"
    title = "Slug taken"
    explanation = "Another article has this slug. Choose another one, or leave it out and one is made from the title."

    def __init__(self, slug: str) -> None:
        detail = f"Another article has the slug {slug!r}."
        super().__init__(detail, errors=[FieldError("/slug", "unique", detail)])


def slug_from_title(title: str) -> str:
    """Make the slug of a title: the same one each time, never empty, at most TITLE_LENGTH characters.

    Letters of every script stay, with their marks. A title without a letter or a digit is named by its digest.
    """
    slug = slug_from(title, length=TITLE_LENGTH)
    return slug or f"article-{sha256(title.encode()).hexdigest()[:8]}"


def summary_from_body(body: str) -> str:
    """Give the first SUMMARY_LENGTH characters of clean HTML as one line of plain text, cut between words."""
    text = plain_from_html(body)
    if len(text) <= SUMMARY_LENGTH:
        return text
    cut = text[: SUMMARY_LENGTH - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut) + "…"


def cache_tag(article_id: UUID) -> str:
    """Name the cache tag of one article; CACHE_TAG is that of all lists."""
    return f"article:{article_id}"


def articles_changed(*article_ids: UUID) -> None:
    """Outdate, once the transaction commits, every cached list and the cached answers about these articles."""
    tags_change(CACHE_TAG, *map(cache_tag, article_ids))


def article_create(
    *,
    author: AbstractBaseUser | None,
    title: str,
    body: str,
    summary: str | None = None,
    tags: list[str] | None = None,
    published_at: datetime | None = None,
    slug: str | None = None,
) -> Article:
    """Store a new article. Without a slug one is made from the title, and kept apart from those that exist.

    Raises `SlugTaken` (409) when a slug that was asked for exists.
    """
    article = Article(
        author_id=None if author is None else author.pk,
        title=title,
        body=body,
        summary=summary_from_body(body) if summary is None else summary,
        tags=tags or [],
        published_at=published_at,
        slug=slug or slug_from_title(title),
    )
    if not slug:
        _insert_with_free_slug(article)
    elif not row_insert(article):
        raise SlugTaken(slug)
    articles_changed(article.pk)
    return article


def article_update(*, article: Article, expected: int | None, changes: Mapping[str, Any]) -> Article:
    """Write the named columns and count the version up, if `expected` (None: whatever it is) is the stored version.

    A summary that was derived from the old body follows the new one; a given one stays until another is given, and None
    asks for a derived one. Raises `PreconditionFailed` (412), `NotFound` (404) or `SlugTaken` (409).
    """
    values = dict(changes)
    if "summary" not in values and "body" in values and article.summary == summary_from_body(article.body):
        values["summary"] = None
    if "summary" in values and values["summary"] is None:
        values["summary"] = summary_from_body(values.get("body", article.body))
    slug = values.get("slug", article.slug)
    is_current = expected in (None, article.version)  # else 412 comes first (RFC 9110, 13.2.1)
    if is_current and slug != article.slug and Article.objects.filter(slug=slug).exists():
        raise SlugTaken(slug)  # between rivals the constraint decides
    _unless_taken(
        slug,
        lambda: version_update(instance=article, expected=expected, **values),
    )
    articles_changed(article.pk)
    return article


def article_delete(*, article: Article, expected: int | None = None) -> None:
    """Delete the article, if `expected` (None: whatever it is) is the stored version, else `PreconditionFailed` (412)."""
    version_delete(instance=article, expected=expected)
    articles_changed(article.pk)


def articles_of_user_erase(*, user_id: UUID, now: datetime) -> None:
    """Delete what a user who goes has not published: drafts and what is scheduled. The rest stays, without its author.

    In the caller's transaction.
    """
    articles_delete(articles=Article.objects.filter(author_id=user_id).exclude(published_at__lte=now))


def articles_delete(*, articles: QuerySet[Article]) -> int:
    """Delete all of these articles and return their number."""
    with transaction.atomic():
        ids = list(articles.order_by("pk").select_for_update(of=("self",)).values_list("pk", flat=True))
        for start in range(0, len(ids), BATCH):
            Article.objects.filter(pk__in=ids[start : start + BATCH]).delete()
        articles_changed(*ids)
    return len(ids)


def _insert_with_free_slug(article: Article) -> None:
    """Insert under the slug, or under the slug with the end of the article's own id, which is random."""
    base = article.slug
    for attempt in range(SLUG_ATTEMPTS):
        if row_insert(article):
            return
        article.slug = f"{base}-{article.pk.hex[-6 * (attempt + 1) :]}"
    raise SlugTaken(base)


def _unless_taken(slug: str, write: Callable[[], None]) -> None:
    """Write, telling a clash of slugs from every other broken constraint. The database is asked, so no race is lost."""
    try:
        with transaction.atomic():
            write()
    except IntegrityError as error:
        diagnosis = getattr(error.__cause__, "diag", None)
        if diagnosis is not None and diagnosis.constraint_name == "articles_slug_unique":
            raise SlugTaken(slug) from error
        raise
