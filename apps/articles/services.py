"""Every write to articles: stores rows, counts versions and invalidates caches.

Values must have been validated and cleaned by ``serializers.ArticleWriteSerializer``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
BATCH = 10_000  # ids; a statement takes 65,535 values


class SlugTaken(Conflict, type="slug-taken", title="Slug taken"):
    """Another article has the slug that this article would get."""

    explanation = (
        "Another article has this slug. Choose a different one, or leave it out to have one made from the title."
    )

    def __init__(self, slug: str) -> None:
        detail = f"Another article has the slug {slug!r}. Choose a different one."
        super().__init__(detail, errors=[FieldError("/slug", "unique", detail)])


def slug_from_title(title: str) -> str:
    """Return the slug of a title: always the same one, never empty, at most TITLE_LENGTH characters.

    Keeps letters of every script, with their marks. A title without letters or digits gets a slug made from its hash.
    """
    slug = slug_from(title, length=TITLE_LENGTH)
    return slug or f"article-{sha256(title.encode()).hexdigest()[:8]}"


def summary_from_body(body: str) -> str:
    """Return the first SUMMARY_LENGTH characters of clean HTML as one line of plain text, cut between words."""
    text = plain_from_html(body)
    if len(text) <= SUMMARY_LENGTH:
        return text
    cut = text[: SUMMARY_LENGTH - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut) + "…"


def cache_tag(article_id: UUID) -> str:
    """Return the cache tag of one article. The tag of all lists is CACHE_TAG."""
    return f"article:{article_id}"


def article_caches_invalidate(*article_ids: UUID) -> None:
    """Invalidate every cached list, and the cached responses for these articles, when the transaction commits."""
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
    """Store a new article. Without ``slug``, make a unique one from the title.

    Raise ``SlugTaken`` (409) if ``slug`` is given and another article has it.
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
    article_caches_invalidate(article.pk)
    return article


def article_update(*, article: Article, expected: int | None, changes: Mapping[str, Any]) -> Article:
    """Write the named columns and increment the version, if the stored version is ``expected`` (None: any).

    A summary taken from the old body is taken from the new one; a written summary stays. A summary of None is taken from the
    body. Raise ``PreconditionFailed`` (412), ``NotFound`` (404) or ``SlugTaken`` (409).
    """
    values = dict(changes)
    if "summary" not in values and "body" in values and article.summary == summary_from_body(article.body):
        values["summary"] = None
    if "summary" in values and values["summary"] is None:
        values["summary"] = summary_from_body(values.get("body", article.body))
    slug = values.get("slug", article.slug)
    is_current = expected in (None, article.version)  # otherwise 412 comes first (RFC 9110, 13.2.1)
    if is_current and slug != article.slug and Article.objects.filter(slug=slug).exists():
        raise SlugTaken(slug)  # the constraint catches concurrent writers
    with _slug_conflicts(slug):
        version_update(instance=article, expected=expected, **values)
    article_caches_invalidate(article.pk)
    return article


def article_delete(*, article: Article, expected: int | None = None) -> None:
    """Delete the article. Raise ``PreconditionFailed`` (412) if the stored version is not ``expected`` (None: any)."""
    version_delete(instance=article, expected=expected)
    article_caches_invalidate(article.pk)


def user_articles_erase(*, user_id: UUID, now: datetime) -> None:
    """Delete the drafts and scheduled articles of a user whose account is being deleted, in the caller's transaction.

    Published articles stay, without an author.
    """
    articles_delete(articles=Article.objects.filter(author_id=user_id).exclude(published_at__lte=now))


def articles_delete(*, articles: QuerySet[Article]) -> int:
    with transaction.atomic():
        ids = list(articles.order_by("pk").select_for_update(of=("self",)).values_list("pk", flat=True))
        for start in range(0, len(ids), BATCH):
            Article.objects.filter(pk__in=ids[start : start + BATCH]).delete()
        article_caches_invalidate(*ids)
    return len(ids)


def _insert_with_free_slug(article: Article) -> None:
    """Insert the article under its slug or, if that is taken, with the random end of its id appended."""
    base = article.slug
    for attempt in range(SLUG_ATTEMPTS):
        if row_insert(article):
            return
        article.slug = f"{base}-{article.pk.hex[-6 * (attempt + 1) :]}"
    raise SlugTaken(base)


@contextmanager
def _slug_conflicts(slug: str) -> Iterator[None]:
    """Raise ``SlugTaken`` if the unique constraint on slugs is violated, even by a concurrent writer."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        diagnosis = getattr(error.__cause__, "diag", None)
        if diagnosis is not None and diagnosis.constraint_name == "articles_slug_unique":
            raise SlugTaken(slug) from error
        raise
