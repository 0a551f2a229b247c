"""A PUT of what a GET returned changes nothing, nor does saving the admin form unchanged."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.articles.admin import ArticleForm
from apps.articles.models import SLUG_LENGTH, TITLE_LENGTH, Article
from apps.articles.services import slug_from_title
from apps.practices.validation.fields import CleanSlugField
from tests.apps.articles.conftest import Caller

WRITTEN = ("title", "body", "summary", "tags", "published_at", "slug")
# Letters that change when normalised or lower-cased, marks, joiners, spaces, and HTML syntax.
LETTERS = st.sampled_from(
    "aZéßİıſẞΣςfiΩÅ한हि्न्दीதமிழ்ไทยمیخ😀１"  # noqa: RUF001 - letters that look like others are meant
    "\u200c\u200d\u0301\u0307\u0345\u0327\ufe0f \t\n\u00a0\u3000-_.,;&<>'\""
)
LINE = st.text(LETTERS, min_size=1, max_size=40)
TAGS = [f"<{slash}{name}>" for name in ("p", "b", "pre", "a", "li", "ul", "table", "td", "h2") for slash in ("", "/")]
HTML = st.lists(
    st.sampled_from([*TAGS, "<br>", "<a href='/x'>", "<script>", "&amp;", "&#769;", "<!--"]) | LINE, max_size=12
)
ARTICLE = st.fixed_dictionaries(
    {"title": LINE, "body": HTML.map("".join)},
    optional={
        "summary": LINE | st.none(),
        "tags": st.lists(LINE, max_size=3),
        "slug": LINE | st.text(LETTERS.filter(str.isalnum), min_size=1, max_size=SLUG_LENGTH),
        "published_at": st.none()
        | st.datetimes().map(lambda moment: moment.isoformat() + "Z")
        | st.sampled_from(["2026-01-31t12:00:00.1234567+05:30", "0001-01-01T00:00:00-00:00"]),
    },
)


@given(given=ARTICLE)
@settings(derandomize=True, deadline=None, database=None, max_examples=150, suppress_health_check=list(HealthCheck))
@pytest.mark.django_db
def test_response_can_be_sent_back(given: dict[str, Any], author: Caller, client: Client) -> None:
    made = client.post("/api/v1/articles", given, content_type="application/json", **author.headers)
    if made.status_code != 201:
        assert made.status_code in (400, 409), made.content
        return
    path = made.headers["Location"]
    shown = client.get(path, **author.headers).json()
    body = {name: shown[name] for name in WRITTEN}
    for _ in range(2):
        again = client.put(path, body, content_type="application/json", **author.headers)
        assert again.status_code == 200, (body, again.content)
        assert {name: again.json()[name] for name in WRITTEN} == body
    article = Article.objects.get(pk=shown["id"])
    form = ArticleForm(
        {**body, "tags": ",".join(body["tags"]), "published_at": "", "expected_version": article.version},
        instance=article,
    )
    assert form.is_valid(), (body, form.errors)
    assert form.values["slug"] == body["slug"]
    article.delete()


@given(st.text(min_size=1, max_size=TITLE_LENGTH) | st.text(LETTERS, min_size=1, max_size=TITLE_LENGTH))
@settings(derandomize=True, deadline=None, database=None, max_examples=1_000)
def test_generated_slug_is_valid(title: str) -> None:
    slug = slug_from_title(title)
    field = CleanSlugField(max_length=SLUG_LENGTH, lowercase=True)
    assert field.run_validation(slug) == slug
    assert slug_from_title(slug) == slug
