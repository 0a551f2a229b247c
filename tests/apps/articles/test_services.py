"""The services: slugs, summaries, versions, and concurrent writes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import IntegrityError, transaction

from apps.articles.models import SUMMARY_LENGTH, TITLE_LENGTH, Article
from apps.articles.services import (
    SlugTaken,
    article_create,
    article_delete,
    article_update,
    articles_delete,
    slug_from_title,
    summary_from_body,
)
from apps.practices.errors import NotFound, PreconditionFailed

Make = Callable[..., Article]


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Hello, World!", "hello-world"),
        ("  _x_  ", "x"),
        ("Über Straßen", "über-straßen"),
        ("数据库 索引", "数据库-索引"),
        ("000 0.0.0", "000-000"),
        ("İzmir'de ILIK bir gün", "izmirde-ilik-bir-gün"),
        ("हिन्दी भाषा", "हिन्दी-भाषा"),
        ("தமிழ்", "தமிழ்"),
        ("ภาษาไทย", "ภาษาไทย"),
        ("क्\u200dष", "क्\u200dष"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # noqa: RUF001 - Persian
        ("a\u200cb \u200dc", "ab-c"),
        ("!\u0301 a", "a"),
        ("ọ́jọ́", "ọ́jọ́"),
    ],
)
def test_slug_of_a_title(title: str, slug: str) -> None:
    assert slug_from_title(title) == slug


def test_slug_of_a_title_without_letters() -> None:
    assert slug_from_title("!!!") == slug_from_title("!!!") != slug_from_title("???")
    assert slug_from_title("!!!").startswith("article-")


def test_slug_stays_short_when_normalised() -> None:
    assert len(slug_from_title("\ufdfa" * TITLE_LENGTH)) <= TITLE_LENGTH


@pytest.mark.parametrize(
    ("body", "summary"),
    [
        ("plain", "plain"),
        ("<h2>Head</h2><p>Text &amp; more<br>here</p>", "Head Text & more here"),
        ("<p>" + "word " * 100 + "</p>", ("word " * 59).strip() + "…"),
        ("x" * 400, "x" * (SUMMARY_LENGTH - 1) + "…"),
    ],
)
def test_summary_is_the_start_as_plain_text(body: str, summary: str) -> None:
    assert summary_from_body(body) == summary
    assert len(summary) <= SUMMARY_LENGTH


def test_equal_titles_get_different_slugs(article_make: Make) -> None:
    slugs = [article_make(title="Same").slug for _ in range(3)]
    assert slugs[0] == "same"
    assert len(set(slugs)) == len(slugs)
    assert all(slug.startswith("same") for slug in slugs)


def test_given_slug_that_exists_is_refused(article_make: Make) -> None:
    article_make(slug="mine")
    with pytest.raises(SlugTaken) as caught:
        article_make(slug="mine")
    assert caught.value.errors[0].pointer == "/slug"
    assert Article.objects.count() == 1


def test_other_constraints_are_not_a_taken_slug(article_make: Make) -> None:
    with pytest.raises(IntegrityError):
        article_make(title="")


def test_generated_summary_follows_the_body(article_make: Make) -> None:
    derived, given = article_make(), article_make(summary="By hand")
    for article in (derived, given):
        article_update(article=article, expected=None, changes={"body": "<p>New</p>"})
    derived.refresh_from_db()
    given.refresh_from_db()
    assert (derived.summary, given.summary) == ("New", "By hand")
    article_update(article=given, expected=None, changes={"summary": None})
    assert Article.objects.get(pk=given.pk).summary == "New"


def test_update_sets_version_and_time(article_make: Make) -> None:
    article = article_make()
    before = article.updated_at
    article_update(article=article, expected=1, changes={"title": "Other"})
    stored = Article.objects.get(pk=article.pk)
    assert (stored.title, stored.version) == ("Other", 2)
    assert stored.updated_at > before


def test_writes_to_another_version_are_refused(article_make: Make) -> None:
    article = article_make()
    with pytest.raises(PreconditionFailed):
        article_update(article=article, expected=7, changes={"title": "Lost"})
    with pytest.raises(PreconditionFailed):
        article_delete(article=article, expected=7)
    stored = Article.objects.get(pk=article.pk)
    assert (stored.title, stored.version) == ("A title", 1)


def test_writes_to_deleted_articles_are_404(article_make: Make) -> None:
    article = article_make()
    Article.objects.all().delete()
    with pytest.raises(NotFound):
        article_update(article=article, expected=None, changes={"title": "Late"})


def test_taken_slug_leaves_the_transaction_usable(article_make: Make) -> None:
    article_make(slug="first")
    second = article_make(slug="second")
    with transaction.atomic():
        with pytest.raises(SlugTaken):
            article_update(article=second, expected=None, changes={"slug": "first", "title": "Lost"})
        assert Article.objects.get(pk=second.pk).title == "A title"


def test_bulk_delete(article_make: Make) -> None:
    kept, *gone = article_make(), article_make(), article_make()
    assert articles_delete(articles=Article.objects.exclude(pk=kept.pk)) == len(gone)
    assert list(Article.objects.values_list("pk", flat=True)) == [kept.pk]


def test_article_survives_its_author(author: object, article_make: Make) -> None:
    article = article_make()
    article.author.delete()
    assert Article.objects.get(pk=article.pk).author_id is None


def test_article_without_an_author(db: None) -> None:
    assert article_create(author=None, title="T", body="b").author_id is None
