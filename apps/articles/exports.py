"""The export of articles, built on ``apps.jobs.exports``: which articles and which columns. An import takes the file."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from rest_framework import serializers

from apps.articles.imports import COLUMNS
from apps.articles.permissions import unpublished_author
from apps.articles.selectors import ARTICLE_FIELDS, State, article_list, article_tag_filter
from apps.articles.serializers import TagField
from apps.jobs.exports import ExportParametersSerializer, ExportSpec
from apps.practices.validation.fields import CanonicalUUIDField


class ArticleExportSerializer(ExportParametersSerializer):
    """The format of the file, and the filters of the list that it contains."""

    state = serializers.ChoiceField(
        choices=State.choices,
        default=State.PUBLISHED.value,
        help_text="Of scheduled articles and drafts you get your own, or all with the permission.",
    )
    author = CanonicalUUIDField(allow_null=True, default=None, help_text="Only articles by this author.")
    tag = TagField(allow_null=True, default=None, help_text="Only articles with this tag.")


def article_export(
    *, owner: AbstractBaseUser, now: datetime, state: str, author: UUID | None, tag: str | None
) -> ExportSpec:
    """Return the export of the articles that the list shows to the owner."""
    filters: dict[str, Any] = {"state": state, "author": author}
    if state != State.PUBLISHED:
        filters["restricted_to"] = unpublished_author(owner)
    articles = article_list(now=now, **filters)
    return ExportSpec(
        name="articles",
        rows=articles if tag is None else articles.filter(article_tag_filter(tag)),
        fields={name: ARTICLE_FIELDS[name] for name in COLUMNS.known},
    )
