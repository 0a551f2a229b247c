"""The heavy work of articles: import, export and report."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils import timezone

from apps.articles.exports import ArticleExportSerializer, article_export
from apps.articles.imports import article_import
from apps.articles.reports import article_report
from apps.jobs.context import JobContext
from apps.jobs.exports import export_run
from apps.jobs.imports import ImportParametersSerializer, OnConflict, import_run
from apps.jobs.kinds import job_kind
from apps.practices.validation.serializers import StrictSerializer


class ReportParametersSerializer(StrictSerializer):
    """A report takes no parameters."""


@job_kind("articles.import", serializer=ImportParametersSerializer)
def articles_import(context: JobContext, *, format: str, on_conflict: str) -> dict[str, Any]:
    """Import the uploaded rows as the owner's articles."""
    if context.owner is None:
        raise ValueError("An import needs an owner: the articles are theirs.")
    spec = article_import(owner=context.owner)
    return import_run(context, spec=spec, format=format, on_conflict=OnConflict(on_conflict))


@job_kind("articles.export", serializer=ArticleExportSerializer, unique=True)
def articles_export(
    context: JobContext, *, format: str, state: str, author: UUID | None, tag: str | None
) -> dict[str, Any]:
    """Write the articles that the list shows the owner into a file."""
    if context.owner is None:
        raise ValueError("An export needs an owner: it holds what they may see.")
    spec = article_export(owner=context.owner, now=timezone.now(), state=state, author=author, tag=tag)
    return export_run(context, spec=spec, format=format)


@job_kind("articles.report", serializer=ReportParametersSerializer, unique=True)
def articles_report(context: JobContext) -> dict[str, Any]:
    """Report on every public article."""
    return article_report(context, now=timezone.now())
