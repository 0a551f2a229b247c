"""The lists of articles: by what they can be ordered and filtered, and which fields a page can be reduced to.

Each ordering, and each filter in it, has its index in the model. Drafts have no date of publication, hence an order of
their own; articles to come are few among the dated ones, so that only the order by that date finds them without a search.
"""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request

from apps.articles.models import Article
from apps.articles.selectors import (
    ARTICLE_FIELDS,
    State,
    article_found_by,
    article_ranked,
    article_tagged,
    article_worded,
)
from apps.articles.serializers import TagField
from apps.practices.database.lists import Filter, KeysetList, ListQuery, Matching, Page
from apps.practices.database.schema import list_parameters
from apps.practices.errors import ValidationProblem
from apps.practices.validation.fields import CanonicalUUIDField, PlainTextField
from apps.practices.validation.query import parameter_error

SEARCH_LENGTH = 200
_HEAVY = ("body",)

_FILTERS: dict[str, Filter | Matching | serializers.Field[Any, Any, Any, Any]] = {
    # Chooses the list, each of which has its own indexes.
    "state": Filter(
        serializers.ChoiceField(
            choices=State.choices,
            help_text="published (default), scheduled or draft; of the last two, one's own unless one may read all. "
            "Drafts are ordered by created_at, the others are not; scheduled ones by published_at alone.",
        )
    ),
    "author": CanonicalUUIDField(help_text="Id of the author."),
    "tag": Matching(TagField(help_text="Articles with this tag."), condition=article_tagged),
    "search": Matching(
        PlainTextField(
            max_length=SEARCH_LENGTH, help_text='Words in title or body; "a phrase", or, and -not are understood.'
        ),
        condition=article_worded,
        found_by=article_found_by,
    ),
    "ranked": Filter(
        serializers.BooleanField(
            help_text="With search: the best answers among the newest 1,000, best first, as one page without a cursor."
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
_LISTS = {State.DRAFT: DRAFTS, State.SCHEDULED: SCHEDULED}


def list_of(state: str | None) -> KeysetList:
    """Give the list that holds the articles in a state, as a request names it."""
    return _LISTS.get(State(state), ARTICLES) if state in State.values else ARTICLES


def list_query(request: Request) -> ListQuery:
    """Return what a request asks of the list that its `state` names."""
    return list_of(request.query_params.get("state")).parse(request)


def ranked_page(declared: KeysetList, query: ListQuery, articles: QuerySet[Article]) -> Page:
    """Give the one page of a ranked search. Raises `ValidationProblem` (400) for what makes no sense with a rank."""
    text = query.matching.get("search")
    if text is None or query.cursor is not None or query.ordering != declared.default:
        detail = "Only a search can be ranked, and it takes neither cursor nor ordering."
        raise ValidationProblem(errors=[parameter_error("ranked", "invalid", detail)])
    if set(query.fields) & set(declared.heavy):
        detail = "A ranked page has no body. Leave it out, and read an article at its own address."
        raise ValidationProblem(errors=[parameter_error("fields", "unsupported", detail)])
    ids = declared.first_matches(query, articles)
    columns = dict.fromkeys(column for name in query.fields for column in ARTICLE_FIELDS[name].columns)
    rows = article_ranked(ids=ids, text=text, columns=tuple(columns), limit=query.limit)
    results = [{name: ARTICLE_FIELDS[name].value(row) for name in query.fields} for row in rows]
    return Page(results=results, next=None, previous=None)
