"""Articles on the wire: what a client may write, checked and cleaned, and the shape it reads."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.articles.models import BODY_LENGTH, SLUG_LENGTH, SUMMARY_LENGTH, TAG_LENGTH, TAGS_MAX, TITLE_LENGTH
from apps.practices.validation.dates import StrictDateTimeField
from apps.practices.validation.fields import BoundedListField, CleanSlugField, PlainTextField, RichTextField
from apps.practices.validation.serializers import StrictSerializer
from apps.practices.validation.text import clean_plain


class TagField(PlainTextField):
    """One tag: lower case, without the characters that separate tags in files (;) and forms (,)."""

    refused = ",;"
    default_error_messages = {"separator": "A tag holds neither a comma nor a semicolon."}

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=TAG_LENGTH, **options)

    def to_internal_value(self, data: Any) -> str:
        tag = clean_plain(super().to_internal_value(data).lower())  # lower case may have another normal form
        if "," in tag or ";" in tag:
            self.fail("separator")
        return tag


class ArticleWriteSerializer(StrictSerializer):
    """What a client may write. Everything else of an article is the service's to decide, and refused here.

    A PUT that leaves a field out sets it to its default; the slug is kept, so that addresses last.
    """

    title = PlainTextField(max_length=TITLE_LENGTH)
    body = RichTextField(max_length=BODY_LENGTH, help_text="HTML; what is not allowed in it is taken out.")
    summary = PlainTextField(
        max_length=SUMMARY_LENGTH,
        allow_null=True,
        allow_blank=True,
        default=None,
        help_text="Plain text. Null: derived from the body, and again whenever the body changes.",
    )
    tags = BoundedListField(
        child=TagField(),
        max_length=TAGS_MAX,
        default=list,
        help_text="Kept in lower case; a tag that is given twice is kept once.",
    )
    published_at = StrictDateTimeField(allow_null=True, default=None, help_text="Null: a draft. To come: scheduled.")
    slug = CleanSlugField(
        max_length=SLUG_LENGTH,
        lowercase=True,
        required=False,
        help_text="Unique, in lower case. Left out: made from the title.",
    )

    def validate_tags(self, tags: list[str]) -> list[str]:
        return list(dict.fromkeys(tags))


class ArticleAuthorSerializer(serializers.Serializer[Any]):
    """The author as readers see them."""

    id = serializers.UUIDField()
    name = serializers.CharField(allow_blank=True)


class ArticleSerializer(serializers.Serializer[Any]):
    """An article as it is read. It describes the answer in the schema; `selectors.ARTICLE_FIELDS` makes it."""

    id = serializers.UUIDField()
    slug = serializers.CharField()
    title = serializers.CharField()
    body = serializers.CharField(help_text="Clean HTML.")
    summary = serializers.CharField(allow_blank=True)
    tags = serializers.ListField(child=serializers.CharField())
    author = ArticleAuthorSerializer(allow_null=True, help_text="Null once the account is gone.")
    published_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    version = serializers.IntegerField(min_value=1)
