"""Articles in requests and responses: what a client may write, validated and cleaned, and what it reads."""

import re
from typing import Any

from rest_framework import serializers

from apps.articles.models import BODY_LENGTH, SLUG_LENGTH, SUMMARY_LENGTH, TAG_LENGTH, TAGS_MAX, TITLE_LENGTH
from apps.practices.validation.dates import StrictDateTimeField
from apps.practices.validation.fields import BoundedListField, CleanSlugField, PlainTextField, RichTextField
from apps.practices.validation.serializers import StrictSerializer
from apps.practices.validation.text import Fault


class TagField(PlainTextField):
    """One tag: lower case, without the separators of tags in files (;) and forms (,)."""

    refused = ",;"
    unchanged = re.compile(r"[a-z0-9](?:[a-z0-9 _.+-]*[a-z0-9])?")
    default_error_messages = {"separator": "A tag cannot contain a comma or a semicolon."}

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=TAG_LENGTH, **options)

    def clean(self, text: str) -> str | Fault:
        tag = super().clean(text)
        if isinstance(tag, str) and tag.lower() != tag:
            tag = super().clean(tag.lower())  # lower-casing may undo the Unicode normalisation
        return self.failure("separator") if isinstance(tag, str) and ("," in tag or ";" in tag) else tag


class TagsField(BoundedListField):
    """The tags of an article, without duplicates."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=TagField(), max_length=TAGS_MAX, **options)

    def to_internal_value(self, data: Any) -> list[str]:
        return list(dict.fromkeys(super().to_internal_value(data)))


class ArticleWriteSerializer(StrictSerializer):
    """The fields that a client may write. Any other field is refused.

    PUT sets a field that is left out to its default, except the slug, which keeps its value so that links do not break.
    """

    title = PlainTextField(max_length=TITLE_LENGTH)
    body = RichTextField(
        max_length=BODY_LENGTH, help_text="HTML. Tags and attributes that are not allowed are removed."
    )
    summary = PlainTextField(
        max_length=SUMMARY_LENGTH,
        allow_null=True,
        allow_blank=True,
        default=None,
        help_text="Plain text. Null: taken from the body, and updated whenever the body changes.",
    )
    tags = TagsField(default=list, help_text="Stored in lower case, without duplicates.")
    published_at = StrictDateTimeField(
        allow_null=True, default=None, help_text="Null: a draft. In the future: scheduled."
    )
    slug = CleanSlugField(
        max_length=SLUG_LENGTH,
        lowercase=True,
        required=False,
        help_text="Unique, stored in lower case. If left out, it is made from the title.",
    )


class ArticleAuthorSerializer(serializers.Serializer[Any]):
    """The author as readers see them."""

    id = serializers.UUIDField()
    name = serializers.CharField(allow_blank=True)


class ArticleSerializer(serializers.Serializer[Any]):
    """An article as it is read. Documents the response in OpenAPI; ``selectors.ARTICLE_FIELDS`` produces it."""

    id = serializers.UUIDField()
    slug = serializers.CharField()
    title = serializers.CharField()
    body = serializers.CharField(help_text="Clean HTML.")
    summary = serializers.CharField(allow_blank=True)
    tags = serializers.ListField(child=serializers.CharField())
    author = ArticleAuthorSerializer(allow_null=True, help_text="Null if the account was deleted.")
    published_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    version = serializers.IntegerField(min_value=1)
