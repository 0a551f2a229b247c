"""The lists of articles: by what they can be ordered and filtered, and which fields a page can be reduced to.

Each ordering has its index in the model. Drafts have no date of publication, hence an order of their own.
"""

from rest_framework import serializers

from apps.articles.models import Article
from apps.articles.selectors import ARTICLE_FIELDS, State
from apps.articles.serializers import TagField
from apps.practices.database.lists import KeysetList
from apps.practices.validation.fields import PlainTextField

SEARCH_LENGTH = 200

_FILTERS = {
    "state": serializers.ChoiceField(
        choices=State.choices,
        help_text="published (default), scheduled or draft; of the last two, one's own unless one may read all.",
    ),
    "author": serializers.UUIDField(help_text="Id of the author."),
    "tag": TagField(help_text="Articles with this tag."),
    "search": PlainTextField(
        max_length=SEARCH_LENGTH, help_text='Words in title or body; "a phrase", or, and -not are understood.'
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
    filters=_FILTERS,
    nonnull=("published_at",),
)
DRAFTS = KeysetList(
    model=Article,
    orderings={"-created_at": ("-created_at", "-id"), "created_at": ("created_at", "id")},
    fields=ARTICLE_FIELDS,
    filters=_FILTERS,
)
