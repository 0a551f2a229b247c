"""Callers of the API and articles. Django is set up after this file is imported, so fixtures import models inside."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from apps.articles.models import Article


class Caller(NamedTuple):
    """A user and the headers that authenticate them; None and no headers for an anonymous caller."""

    user: Any
    headers: dict[str, Any]


@pytest.fixture
def callers(db: None) -> Callable[[str], Caller]:
    """Return the caller with a role: nobody, author, other, staff, or staff with permissions, as in staff+change."""
    from tests.apps.accounts.factories import bearer, user_create

    made = {"nobody": Caller(None, {})}

    def person(role: str) -> Caller:
        if role not in made:
            held = tuple(f"articles.{word}_article" for word in role.split("+") if word in ("view", "change", "delete"))
            user = user_create(name=role.title(), is_staff="staff" in role, permissions=held)
            made[role] = Caller(user, bearer(user))
        return made[role]

    return person


@pytest.fixture
def author(callers: Callable[[str], Caller]) -> Caller:
    return callers("author")


@pytest.fixture
def article_make(author: Caller) -> Callable[..., Article]:
    """Return a function that stores an article, by default by the author and published an hour ago."""
    from django.utils import timezone

    from apps.articles.services import article_create

    def make(**values: Any) -> Article:
        values = {"author": author.user, "title": "A title", "body": "<p>Some text</p>", **values}
        values.setdefault("published_at", timezone.now() - timedelta(hours=1))
        return article_create(**values)

    return make
