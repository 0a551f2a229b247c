"""Articles as a file: which ones, and what of them. It can be imported again. The rest is ``apps.jobs.exports``."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from rest_framework import serializers

from apps.articles.imports import COLUMNS
from apps.articles.permissions import unpublished_of
from apps.articles.selectors import ARTICLE_FIELDS, State, article_list, article_tagged
from apps.articles.serializers import TagField
from apps.jobs.exports import ExportParametersSerializer, ExportSpec
from apps.practices.validation.fields import CanonicalUUIDField


class ArticleExportSerializer(ExportParametersSerializer):
    """The file, and the filters of the list that it holds."""

    state = serializers.ChoiceField(
        choices=State.choices,
        default=State.PUBLISHED.value,
        help_text="Of scheduled ones and drafts, one's own unless one may read all.",
    )
    author = CanonicalUUIDField(allow_null=True, default=None, help_text="Only those of this author.")
    tag = TagField(allow_null=True, default=None, help_text="Only those with this tag.")


def article_export(
    *, owner: AbstractBaseUser, now: datetime, state: str, author: UUID | None, tag: str | None
) -> ExportSpec:
    """Describe the export of what the list shows the owner."""
    filters: dict[str, Any] = {"state": state, "author": author}
    if state != State.PUBLISHED:
        filters["within"] = unpublished_of(owner)
    articles = article_list(now=now, **filters)
    return ExportSpec(
        name="articles",
        rows=articles if tag is None else articles.filter(article_tagged(tag)),
        fields={name: ARTICLE_FIELDS[name] for name in COLUMNS.known},
    )
