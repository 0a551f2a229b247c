"""The endpoints of articles. A view reads the request, makes one domain call and turns the result into a response."""

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
from apps.articles.filters import PARAMETERS, list_for_state, list_query, ranked_page
from apps.articles.imports import COLUMNS
from apps.articles.models import Article
from apps.articles.permissions import Action, may_read, require_write, unpublished_author
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
from apps.practices.mechanisms.json import JSONResponse
from apps.practices.validation.parsers import BoundedMultiPartParser
from apps.practices.validation.serializers import StrictSerializer
from apps.practices.validation.views import StrictView

TTL = 30  # seconds; `stale` adds as many, so a scheduled article appears within a minute of its time

IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag of the version you read. If the article has changed since, the write is refused (412).",
)

UNCHANGED = OpenApiResponse(description="The resource still has the ETag given in If-None-Match.")


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
    def get(self, request: Request) -> JSONResponse:
        """Return published articles. With `state`, return your scheduled articles or drafts, or all with the permission."""
        declared = list_for_state(self.query.filters.get("state"))
        filters: dict[str, Any] = dict(self.query.filters)
        if filters.get("state", State.PUBLISHED) != State.PUBLISHED:
            filters["restricted_to"] = unpublished_author(request.user)
        ranked = filters.pop("ranked", False)
        filters["now"] = self.now
        if ranked:
            return JSONResponse(ranked_page(declared, self.query, article_list(**filters)).body())
        return JSONResponse(declared.read(self.query, article_list, **filters).body())

    @extend_schema(
        operation_id="articles_create",
        summary="Create an article",
        request=ArticleWriteSerializer,
        responses={
            201: OpenApiResponse(ArticleSerializer, description="Created. Location is its URL, ETag its version."),
            **problems(400, 401, SlugTaken, 413, 415),
        },
    )
    @idempotent()
    def post(self, request: Request) -> JSONResponse:
        """Create an article by the signed-in user: a draft, unless `published_at` is given."""
        author = cast(AbstractBaseUser, request.user)  # the permission class requires a signed-in user
        article = article_create(author=author, **self.body(ArticleWriteSerializer))
        location = reverse("articles:detail", kwargs={"id": article.pk})
        return _response(article, status=status.HTTP_201_CREATED, headers={"Location": location})


class ArticleDetail(StrictView):
    permission_classes = [IsAuthenticatedOrReadOnly]
    cached = CachedResponse(ttl=TTL, stale=TTL, tags=("article:{id}", PEOPLE_TAG), parameters=())

    @extend_schema(
        operation_id="articles_read",
        summary="Read an article",
        responses={200: ArticleSerializer, 304: UNCHANGED, **problems(401, 404)},
    )
    def get(self, request: Request, id: UUID) -> JSONResponse:
        """Return an article. Until it is published, only its author and readers with the permission can read it."""
        article = article_read(article_id=id)
        author_id = article["author"] and article["author"]["id"]
        if not may_read(request.user, author_id=author_id, published_at=article["published_at"], now=self.now):
            raise NotFound()
        return with_version(JSONResponse(article), article["version"])

    @extend_schema(
        operation_id="articles_replace",
        summary="Replace an article",
        request=ArticleWriteSerializer,
        parameters=[IF_MATCH],
        responses={200: ArticleSerializer, **problems(400, 401, 403, 404, SlugTaken, 412, 413, 415)},
    )
    def put(self, request: Request, id: UUID) -> JSONResponse:
        """Set every field. A field that is left out gets its default, except the slug, which keeps its value."""
        return self._write(request, id, partial=False)

    @extend_schema(
        operation_id="articles_update",
        summary="Change an article",
        request=ArticleWriteSerializer(partial=True),
        parameters=[IF_MATCH],
        responses={200: ArticleSerializer, **problems(400, 401, 403, 404, SlugTaken, 412, 413, 415)},
    )
    def patch(self, request: Request, id: UUID) -> JSONResponse:
        """Set the fields that are given."""
        return self._write(request, id, partial=True)

    @extend_schema(
        operation_id="articles_delete",
        summary="Delete an article",
        parameters=[IF_MATCH],
        responses={204: OpenApiResponse(description="Deleted."), **problems(401, 403, 404, 412)},
    )
    def delete(self, request: Request, id: UUID) -> Response:
        """Delete the article permanently."""
        article = self._writable(id, action="delete")
        article_delete(article=article, expected=if_match_version(request, current=article.version))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _write(self, request: Request, id: UUID, *, partial: bool) -> JSONResponse:
        article = self._writable(id, action="change")
        _ = request.data  # refuses an unreadable body (400, 413, 415) before If-Match is compared
        expected = if_match_version(request, current=article.version)
        changes = self.body(ArticleWriteSerializer, partial=partial)
        return _response(article_update(article=article, expected=expected, changes=changes))

    def _writable(self, id: UUID, *, action: Action) -> Article:
        """Return the article if the caller may do this to it. Raise ``NotFound`` or ``PermissionDenied`` otherwise."""
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
        """Import the rows of a CSV or NDJSON file as your articles.

        Columns: title, body, tags (separated by semicolons), published_at, slug (by default made from the title) and summary
        (by default taken from the body).

        The job's result counts the rows that were created, updated, skipped and rejected, and shows the first 100 rejected
        ones. The file at `errors_url` lists them, one JSON object per line, up to 2 MiB; `errors_listed` is their number.
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
        """Export all articles that the list shows to you, with the columns that an import takes. Download `result_url`."""
        parameters = self.body(ArticleExportSerializer)
        return submitted(job_submit(kind="articles.export", owner=request.user, parameters=parameters))


class ArticleReports(StrictView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        operation_id="articles_report",
        summary="Compute statistics of all public articles",
        request=None,
        responses={202: ACCEPTED, **problems(400, 401, 415, TooManyJobs, FilesQuotaExceeded, StorageFull)},
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        """Count the words, tags and months of all public articles."""
        self.body(StrictSerializer)
        return submitted(job_submit(kind="articles.report", owner=request.user, parameters={}))


def _response(article: Article, **options: Any) -> JSONResponse:
    """Return the response to a write: the article as a GET returns it, with its ETag."""
    body = article_read(article_id=article.pk)
    return with_version(JSONResponse(body, **options), body["version"])
