"""The jobs of articles: import, export and report."""

from typing import Any
from uuid import UUID

from django.utils import timezone

from apps.articles.exports import ArticleExportSerializer, article_export
from apps.articles.imports import article_import
from apps.articles.reports import article_report
from apps.jobs.context import JobContext
from apps.jobs.exports import export_run
from apps.jobs.imports import ImportParametersSerializer, OnConflict, import_run
from apps.jobs.kinds import JobKind
from apps.practices.validation.serializers import StrictSerializer


@JobKind("articles.import", serializer=ImportParametersSerializer)
def articles_import(context: JobContext, *, format: str, on_conflict: str) -> dict[str, Any]:
    """Import the uploaded rows as the owner's articles."""
    if context.owner is None:
        raise ValueError("An import of articles needs an owner, who becomes their author.")
    spec = article_import(owner=context.owner)
    return import_run(context, spec=spec, format=format, on_conflict=OnConflict(on_conflict))


@JobKind("articles.export", serializer=ArticleExportSerializer, unique=True)
def articles_export(
    context: JobContext, *, format: str, state: str, author: UUID | None, tag: str | None
) -> dict[str, Any]:
    """Write to a file the articles that the list shows to the owner."""
    if context.owner is None:
        raise ValueError("An export of articles needs an owner, whose permissions decide what it contains.")
    spec = article_export(owner=context.owner, now=timezone.now(), state=state, author=author, tag=tag)
    return export_run(context, spec=spec, format=format)


@JobKind("articles.report", serializer=StrictSerializer, unique=True)
def articles_report(context: JobContext) -> dict[str, Any]:
    """Compute statistics of all public articles."""
    return article_report(context, now=timezone.now())
