"""The import of articles, built on ``apps.jobs.imports``: what a row may contain, and how a batch is stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from psycopg import sql

from apps.articles.models import Article
from apps.articles.permissions import may_write
from apps.articles.serializers import ArticleWriteSerializer, TagsField
from apps.articles.services import article_caches_invalidate, slug_from_title, summary_from_body
from apps.jobs.imports import Columns, ImportRow, ImportSpec, OnConflict, Outcome, Rejection, staging_table
from apps.practices.database.keys import uuid7

COLUMNS = Columns(known=("title", "body", "tags", "published_at", "slug", "summary"), required=("title", "body"))
TAG_SEPARATOR = ";"

_STAGING = "articles_import"
_STAGED = {
    "id": "uuid",
    "slug": "text",
    "title": "text",
    "body": "text",
    "summary": "text",
    "tags": "text[]",
    "published_at": "timestamptz",
}
_NAMES = sql.SQL(", ").join(map(sql.Identifier, _STAGED))
_TABLES = {"articles": sql.Identifier(Article._meta.db_table), "staged": sql.Identifier(_STAGING), "names": _NAMES}

_INSERT = sql.SQL(
    "INSERT INTO {articles} ({names}, author_id, created_at, updated_at, version)"
    " SELECT {names}, %s, statement_timestamp(), statement_timestamp(), 1 FROM {staged}"
    " ON CONFLICT (slug) DO NOTHING RETURNING slug"
).format(**_TABLES)

# `author_id = …` is never true for NULL: articles without an author need the permission.
_UPDATE = sql.SQL(
    "UPDATE {articles} AS article SET title = row.title, body = row.body, summary = row.summary, tags = row.tags,"
    " published_at = row.published_at, updated_at = statement_timestamp(), version = article.version + 1"
    " FROM {staged} AS row WHERE article.slug = row.slug AND NOT row.slug = ANY(%s) AND (article.author_id = %s OR %s)"
    " RETURNING article.slug, article.id"
).format(**_TABLES)


class RowTagsField(TagsField):
    """Tags as a list, or as one text separated by semicolons."""

    json_types = ("array", "string")

    def to_internal_value(self, data: Any) -> list[str]:
        if isinstance(data, str):
            data = [tag for part in data.split(TAG_SEPARATOR) if (tag := part.strip())]
        return super().to_internal_value(data)


class ArticleRowSerializer(ArticleWriteSerializer):
    """One row of the file: the fields that the API takes."""

    tags = RowTagsField(default=list)


def article_import(*, owner: AbstractBaseUser) -> ImportSpec:
    """Return the import of articles, whose author is the owner. The slug identifies an article."""
    return ImportSpec(columns=COLUMNS, serializer=ArticleRowSerializer(), key=_slug, upsert=_Upsert(owner))


def _slug(values: Mapping[str, Any]) -> str:
    return values.get("slug") or slug_from_title(values["title"])


class _Upsert:
    """Store a batch with the owner's permissions: create articles by the owner, update only those that the owner may change."""

    def __init__(self, owner: AbstractBaseUser) -> None:
        self.owner = owner
        self.may_change_all = may_write(owner, author_id=None, action="change")

    def __call__(self, *, rows: Sequence[ImportRow], on_conflict: OnConflict) -> Mapping[str, Outcome | Rejection]:
        with staging_table(name=_STAGING, columns=_STAGED, rows=map(_record, rows)) as cursor:
            cursor.execute(_INSERT, [self.owner.pk])
            created = {slug for (slug,) in cursor.fetchall()}
            updated: dict[str, Any] = {}
            if on_conflict is OnConflict.UPDATE and len(created) < len(rows):
                cursor.execute(_UPDATE, [list(created), self.owner.pk, self.may_change_all])
                updated = dict(cursor.fetchall())
        if created or updated:
            article_caches_invalidate(*updated.values())  # of new articles only lists are cached
        return dict(self._outcomes(rows, created, updated.keys(), on_conflict))

    def _outcomes(
        self, rows: Sequence[ImportRow], created: Set[str], updated: Set[str], on_conflict: OnConflict
    ) -> Iterator[tuple[str, Outcome | Rejection]]:
        for row in rows:
            if row.key in created:
                yield row.key, Outcome.CREATED
            elif row.key in updated:
                yield row.key, Outcome.UPDATED
            elif on_conflict is OnConflict.SKIP:
                yield row.key, Outcome.SKIPPED
            elif on_conflict is OnConflict.ERROR:
                yield row.key, Rejection("/slug", "conflict", f"An article with the slug {row.key!r} exists.")
            else:
                yield row.key, Rejection("/slug", "permission", f"The article {row.key!r} belongs to another author.")


def _record(row: ImportRow) -> tuple[Any, ...]:
    values = row.values
    return (
        uuid7(),
        row.key,
        values["title"],
        values["body"],
        summary_from_body(values["body"]) if values["summary"] is None else values["summary"],
        values["tags"],
        values["published_at"],
    )
