"""The articles table: columns, constraints, and an index for each ordering and filter of the API."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.practices.database.keys import uuid7
from apps.practices.validation.models import UnicodeSlugField

TITLE_LENGTH = 200
SLUG_LENGTH = 220
BODY_LENGTH = 100_000
SUMMARY_LENGTH = 300
TAG_LENGTH = 50
TAGS_MAX = 20

# Stems English words. Changing it takes a migration that rewrites the `search` column.
SEARCH_CONFIG = "english"

_DATED = Q(published_at__isnull=False)
_UNDATED = Q(published_at__isnull=True)


class Article(models.Model):
    """An article: public from ``published_at`` on, scheduled before that, and a draft without it.

    Write rows with ``services`` only, which increment the version and invalidate caches. PostgreSQL computes ``search``, which is
    as large as the text: leave it out of reads.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = UnicodeSlugField(max_length=SLUG_LENGTH, db_index=False)
    title = models.CharField(max_length=TITLE_LENGTH)
    body = models.TextField()
    summary = models.CharField(max_length=SUMMARY_LENGTH, blank=True)
    tags = ArrayField(models.TextField(), default=list, blank=True)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="articles",
        db_index=False,  # articles_author below starts with it
    )
    published_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    version = models.PositiveIntegerField(default=1, editable=False)
    search = models.GeneratedField(
        expression=SearchVector("title", weight="A", config=SEARCH_CONFIG)
        + SearchVector("body", weight="B", config=SEARCH_CONFIG),
        output_field=SearchVectorField(),
        db_persist=True,
    )

    class Meta:
        constraints = [
            # `unique=True` would add a second index, for LIKE, that nothing uses.
            models.UniqueConstraint(fields=["slug"], name="articles_slug_unique"),
            models.CheckConstraint(condition=~Q(slug=""), name="articles_slug_present"),
            models.CheckConstraint(condition=~Q(title=""), name="articles_title_present"),
            models.CheckConstraint(condition=Q(tags__len__lte=TAGS_MAX), name="articles_tags_few"),
            models.CheckConstraint(condition=Q(version__gte=1), name="articles_version_positive"),
        ]
        indexes = [
            models.Index(fields=["-published_at", "-id"], name="articles_published", condition=_DATED),
            models.Index(fields=["title", "id"], name="articles_title", condition=_DATED),
            models.Index(fields=["author", "-published_at", "-id"], name="articles_author"),
            models.Index(fields=["author", "title", "id"], name="articles_author_title", condition=_DATED),
            models.Index(fields=["-created_at", "-id"], name="articles_drafts", condition=_UNDATED),
            models.Index(fields=["author", "-created_at", "-id"], name="articles_author_drafts", condition=_UNDATED),
            GinIndex(fields=["tags"], name="articles_tags"),
            GinIndex(fields=["search"], name="articles_search"),
        ]

    def __str__(self) -> str:
        return self.title
