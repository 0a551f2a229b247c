"""The import of articles, built on ``apps.jobs.imports``: what a row may contain, and how a batch is stored."""

from operator import itemgetter
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Q

from apps.articles.models import Article
from apps.articles.permissions import may_write
from apps.articles.serializers import ArticleWriteSerializer, TagsField
from apps.articles.services import article_caches_invalidate, slug_from_title, summary_from_body
from apps.jobs.imports import Columns, ImportSpec, ModelUpsert

COLUMNS = Columns(known=("title", "body", "tags", "published_at", "slug", "summary"), required=("title", "body"))
TAG_SEPARATOR = ";"


class RowTagsField(TagsField):
    """Tags as a list, or as one text separated by semicolons."""

    is_pure = True
    json_types = ("array", "string")

    def to_internal_value(self, data: Any) -> list[str]:
        if isinstance(data, str):
            data = [tag for part in data.split(TAG_SEPARATOR) if (tag := part.strip())]
        return super().to_internal_value(data)


class ArticleRowSerializer(ArticleWriteSerializer):
    """One row of the file: the fields that the API takes. A slug and a summary that are left out are made, as by services."""

    tags = RowTagsField(default=list)

    def validate(self, attributes: dict[str, Any]) -> dict[str, Any]:
        if not attributes.get("slug"):
            attributes["slug"] = slug_from_title(attributes["title"])
        if attributes["summary"] is None:
            attributes["summary"] = summary_from_body(attributes["body"])
        return attributes


def article_import(*, owner: AbstractBaseUser) -> ImportSpec:
    """Return the import of articles, whose author is the owner. The slug identifies an article.

    Only articles that the owner may change are updated. `author_id = …` is never true for NULL, so articles without an author
    need the permission.
    """
    may_change_all = may_write(owner, author_id=None, action="change")
    upsert = ModelUpsert(
        model=Article,
        key="slug",
        constants={"author_id": owner.pk},
        writable=Q() if may_change_all else Q(author_id=owner.pk),
        on_written=article_caches_invalidate,  # of new articles only lists are cached
    )
    return ImportSpec(columns=COLUMNS, serializer=ArticleRowSerializer(), key=itemgetter("slug"), upsert=upsert)
