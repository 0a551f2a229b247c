"""Articles over HTTP. A view reads the request, makes one domain call and translates the answer."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.permissions import IsAuthenticated, IsAuthenticatedOrReadOnly
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.selectors.users import PEOPLE_TAG
from apps.articles.exports import ArticleExportSerializer
from apps.articles.filters import PARAMETERS, list_of, list_query, ranked_page
from apps.articles.imports import COLUMNS
from apps.articles.models import Article
from apps.articles.permissions import Action, may_read, require_write, unpublished_of
from apps.articles.selectors import State, article_get, article_list, article_read
from apps.articles.serializers import ArticleSerializer, ArticleWriteSerializer
from apps.articles.services import CACHE_TAG, SlugTaken, article_create, article_delete, article_update
from apps.jobs.idempotency import idempotent
from apps.jobs.imports import IMPORT_BOUNDS, IMPORT_REQUEST, ImportForm, upload_validate
from apps.jobs.services import job_submit
from apps.jobs.services.quota import FilesQuotaExceeded, StorageFull
from apps.jobs.services.submission import TooManyJobs
from apps.jobs.views import ACCEPTED, submitted
from apps.practices.caching import CachedResponse, if_match_version, with_version
from apps.practices.database.schema import page_of
from apps.practices.errors import NotFound
from apps.practices.errors.schema import problems
from apps.practices.validation.parsers import BoundedMultiPartParser
from apps.practices.validation.serializers import StrictSerializer
from apps.practices.validation.views import StrictView

TTL = 30  # seconds; with as many of `stale`, a scheduled article appears within a minute

IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag that was read: the write is refused (412) if the article has changed since.",
)

UNCHANGED = OpenApiResponse(description="If-None-Match names what would be answered.")


class ArticleList(StrictView):
    query_parsers = {"GET": list_query}
    permission_classes = [IsAuthenticatedOrReadOnly]
    cached = CachedResponse(
        ttl=TTL,
        stale=TTL,
        tags=(CACHE_TAG, PEOPLE_TAG),
        parameters=("limit", "cursor", "fields", "ordering", "author", "tag", "search", "ranked"),
    )

    @extend_schema(
        operation_id="articles_list",
        summary="List articles, newest first",
        parameters=PARAMETERS,
        responses={200: page_of(ArticleSerializer), 304: UNCHANGED, **problems(400, 401)},
    )
    def get(self, request: Request) -> Response:
        """Published articles; with `state`, those of one's own (or, with the permission, anybody's) that are not."""
        declared = list_of(self.query.filters.get("state"))
        filters: dict[str, Any] = dict(self.query.filters)
        if filters.get("state", State.PUBLISHED) != State.PUBLISHED:
            filters["within"] = unpublished_of(request.user)
        ranked = filters.pop("ranked", False)
        articles = article_list(now=self.now, **filters)
        page = ranked_page(declared, self.query, articles) if ranked else declared.read(self.query, articles)
        return Response(page.body())

    @extend_schema(
        operation_id="articles_create",
        summary="Write an article",
        request=ArticleWriteSerializer,
        responses={
            201: OpenApiResponse(ArticleSerializer, description="Created; Location and ETag name it."),
            **problems(400, 401, SlugTaken, 413, 415),
        },
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        """Store an article by the signed-in user: a draft, unless `published_at` is given."""
        article = article_create(author=_signed_in(request), **self.body(ArticleWriteSerializer))
        return _answer(article, status=status.HTTP_201_CREATED, headers={"Location": _address(article)})


class ArticleDetail(StrictView):
    permission_classes = [IsAuthenticatedOrReadOnly]
    cached = CachedResponse(ttl=TTL, stale=TTL, tags=("article:{id}", PEOPLE_TAG), parameters=())

    @extend_schema(
        operation_id="articles_read",
        summary="Read an article",
        responses={200: ArticleSerializer, 304: UNCHANGED, **problems(401, 404)},
    )
    def get(self, request: Request, id: UUID) -> Response:
        """One article: anybody's once published, before that the author's and that of readers of all."""
        article = article_read(article_id=id)
        author_id = article["author"] and article["author"]["id"]
        if not may_read(request.user, author_id=author_id, published_at=article["published_at"], now=self.now):
            raise NotFound()
        return with_version(Response(article), article["version"])

    @extend_schema(
        operation_id="articles_replace",
        summary="Replace an article",
        request=ArticleWriteSerializer,
        parameters=[IF_MATCH],
        responses={200: ArticleSerializer, **problems(400, 401, 403, 404, SlugTaken, 412, 413, 415)},
    )
    def put(self, request: Request, id: UUID) -> Response:
        """Set every field: one that is left out gets its default, except the slug, which is kept."""
        return self._write(request, id, partial=False)

    @extend_schema(
        operation_id="articles_update",
        summary="Change an article",
        request=ArticleWriteSerializer(partial=True),
        parameters=[IF_MATCH],
        responses={200: ArticleSerializer, **problems(400, 401, 403, 404, SlugTaken, 412, 413, 415)},
    )
    def patch(self, request: Request, id: UUID) -> Response:
        """Set the fields that are given; leave the others."""
        return self._write(request, id, partial=True)

    @extend_schema(
        operation_id="articles_delete",
        summary="Delete an article",
        parameters=[IF_MATCH],
        responses={204: OpenApiResponse(description="Deleted."), **problems(401, 403, 404, 412)},
    )
    def delete(self, request: Request, id: UUID) -> Response:
        """Delete the article for good."""
        article = self._writable(id, action="delete")
        article_delete(article=article, expected=if_match_version(request, current=article.version))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _write(self, request: Request, id: UUID, *, partial: bool) -> Response:
        article = self._writable(id, action="change")
        _ = request.data  # a body that cannot be read is refused (400, 413, 415) before If-Match is looked at
        expected = if_match_version(request, current=article.version)
        changes = self.body(ArticleWriteSerializer, partial=partial)
        return _answer(article_update(article=article, expected=expected, changes=changes))

    def _writable(self, id: UUID, *, action: Action) -> Article:
        """Return the article, provided that the caller may do this to it."""
        article = article_get(article_id=id)
        require_write(
            self.request.user,
            author_id=article.author_id,
            published_at=article.published_at,
            action=action,
            now=self.now,
        )
        return article


class ArticleImports(StrictView):
    permission_classes = [IsAuthenticated]
    parser_classes = [BoundedMultiPartParser]
    bounds = IMPORT_BOUNDS

    @extend_schema(
        operation_id="articles_import",
        summary="Import articles from a file",
        request=IMPORT_REQUEST,
        responses={202: ACCEPTED, **problems(400, 401, 413, 415, TooManyJobs, FilesQuotaExceeded, StorageFull)},
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        """Columns: title, body, tags (separated by semicolons), published_at, slug (else made from the title) and summary
        (else derived from the body).

        The job's result says how many rows were created, updated, skipped and rejected, and shows the first rejected ones;
        `errors_url` has them, one JSON object a line, up to 2 MiB: `errors_listed` of the `rejected` ones.
        """
        parameters = self.body(ImportForm)
        upload = upload_validate(file=parameters.pop("file"), format=parameters["format"], columns=COLUMNS)
        return submitted(job_submit(kind="articles.import", owner=request.user, parameters=parameters, upload=upload))


class ArticleExports(StrictView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="articles_export",
        summary="Export articles to a file",
        request=ArticleExportSerializer,
        responses={202: ACCEPTED, **problems(400, 401, 413, 415, TooManyJobs, FilesQuotaExceeded, StorageFull)},
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        """What the list shows, all of it, with the columns that an import takes. `result_url` is the file."""
        parameters = self.body(ArticleExportSerializer)
        return submitted(job_submit(kind="articles.export", owner=request.user, parameters=parameters))


class ArticleReports(StrictView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="articles_report",
        summary="Compute statistics over all public articles",
        request=None,
        responses={202: ACCEPTED, **problems(400, 401, 415, TooManyJobs, FilesQuotaExceeded, StorageFull)},
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        """Words, tags and months of every public article."""
        self.body(StrictSerializer)
        return submitted(job_submit(kind="articles.report", owner=request.user, parameters={}))


def _answer(article: Article, **options: Any) -> Response:
    """Answer a write with the article as a later GET gives it, ETag included."""
    body = article_read(article_id=article.pk)
    return with_version(Response(body, **options), body["version"])


def _address(article: Article) -> str:
    return reverse("articles:detail", kwargs={"id": article.pk})


def _signed_in(request: Request) -> AbstractBaseUser:
    """Give the user of a request that the permission class let through to a write."""
    return cast(AbstractBaseUser, request.user)
