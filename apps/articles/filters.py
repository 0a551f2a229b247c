"""The lists of articles: their orderings, filters and fields.

Each ordering, and each filter in it, has its index in the model. Drafts have no publication date, so they have their own
orderings. Scheduled articles are few among those with a date, so only the orderings by date find them without a scan.
"""

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request

from apps.articles.models import Article
from apps.articles.selectors import (
    ARTICLE_FIELDS,
    State,
    article_list_ranked,
    article_search_filter,
    article_search_prefilter,
    article_tag_filter,
)
from apps.articles.serializers import TagField
from apps.practices.database.filters import FilterField
from apps.practices.database.lists import Filter, KeysetList, ListQuery, Matching, Page
from apps.practices.database.schema import list_parameters
from apps.practices.errors import ValidationProblem
from apps.practices.validation.fields import CanonicalUUIDField, PlainTextField
from apps.practices.validation.query import parameter_error

SEARCH_LENGTH = 200
_HEAVY = ("body",)

_FILTERS: dict[str, FilterField | Filter | Matching] = {
    "state": Filter(  # selects one of the lists below
        serializers.ChoiceField(
            choices=State.choices,
            help_text="published (default), scheduled or draft. Of scheduled articles and drafts you see your own, or all with "
            "the permission. Order drafts by created_at and scheduled articles by published_at.",
        )
    ),
    "author": CanonicalUUIDField(help_text="Id of the author."),
    "tag": Matching(TagField(help_text="Articles with this tag."), condition=article_tag_filter),
    "search": Matching(
        PlainTextField(
            max_length=SEARCH_LENGTH,
            help_text='Words in the title or body. "Quote a phrase", use or between alternatives, and -exclude words.',
        ),
        condition=article_search_filter,
        found_by=article_search_prefilter,
    ),
    "ranked": Filter(
        serializers.BooleanField(
            help_text="With search: return the best matches among the newest 1,000, best first, on one page without a cursor."
        )
    ),
}

ARTICLES = KeysetList(
    model=Article,
    orderings={
        "-published_at": ("-published_at", "-id"),
        "published_at": ("published_at", "id"),
        "title": ("title", "id"),
        "-title": ("-title", "-id"),
    },
    fields=ARTICLE_FIELDS,
    heavy=_HEAVY,
    filters=_FILTERS,
    nonnull=("published_at",),
)
SCHEDULED = KeysetList(
    model=Article,
    orderings={name: columns for name, columns in ARTICLES.orderings.items() if "published_at" in name},
    fields=ARTICLE_FIELDS,
    heavy=_HEAVY,
    filters=_FILTERS,
    nonnull=("published_at",),
)
DRAFTS = KeysetList(
    model=Article,
    orderings={"-created_at": ("-created_at", "-id"), "created_at": ("created_at", "id")},
    fields=ARTICLE_FIELDS,
    heavy=_HEAVY,
    filters={name: declared for name, declared in _FILTERS.items() if name != "ranked"},
)
PARAMETERS = list_parameters(
    orderings=[*ARTICLES.orderings, *DRAFTS.orderings],
    fields=list(ARTICLE_FIELDS),
    heavy=_HEAVY,
    filters={name: declared.field for name, declared in ARTICLES.filters.items()},
)
_LISTS: dict[str | None, KeysetList] = {State.DRAFT: DRAFTS, State.SCHEDULED: SCHEDULED}


def list_for_state(state: str | None) -> KeysetList:
    """Return the list of the articles in a state, as ``?state=`` names it."""
    return _LISTS.get(state, ARTICLES)


def list_query(request: Request) -> ListQuery:
    """Return the query of a request to the list of its ``?state=``."""
    return list_for_state(request.query_params.get("state")).parse(request)


def ranked_page(declared: KeysetList, query: ListQuery, articles: QuerySet[Article]) -> Page:
    """Return the one page of a ranked search. Raise ``ValidationProblem`` (400) for parameters that ranking excludes."""
    text = query.matching.get("search")
    if text is None or query.cursor is not None or query.ordering != declared.default:
        detail = "ranked needs search, and cannot be combined with cursor or ordering."
        raise ValidationProblem(errors=[parameter_error("ranked", "invalid", detail)])
    if set(query.fields) & set(declared.heavy):
        detail = "A ranked page cannot include body. Remove it from fields, and read each article at its own URL."
        raise ValidationProblem(errors=[parameter_error("fields", "unsupported", detail)])
    ids = declared.first_matches(query, articles)
    columns = dict.fromkeys(column for name in query.fields for column in ARTICLE_FIELDS[name].columns)
    rows = article_list_ranked(ids=ids, text=text, columns=tuple(columns), limit=query.limit)
    results = [{name: ARTICLE_FIELDS[name].value(row) for name in query.fields} for row in rows]
    return Page(results=results, next=None, previous=None)
