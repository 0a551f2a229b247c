"""Who asks, and what they ask about. Django is set up after this file is read, hence the imports inside."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from apps.articles.models import Article


class Somebody(NamedTuple):
    """A user and the request headers that prove it; nobody has neither."""

    user: Any
    headers: dict[str, Any]


@pytest.fixture
def people(db: None) -> Callable[[str], Somebody]:
    """Make people by role, once each: nobody, author, other, staff, or with the permissions they hold: staff+change."""
    from tests.apps.accounts.factories import bearer, user_create

    made = {"nobody": Somebody(None, {})}

    def person(role: str) -> Somebody:
        if role not in made:
            held = tuple(f"articles.{word}_article" for word in role.split("+") if word in ("view", "change", "delete"))
            user = user_create(name=role.title(), is_staff="staff" in role, permissions=held)
            made[role] = Somebody(user, bearer(user))
        return made[role]

    return person


@pytest.fixture
def author(people: Callable[[str], Somebody]) -> Somebody:
    return people("author")


@pytest.fixture
def article_make(author: Somebody) -> Callable[..., Article]:
    """Store an article by the author, published an hour ago unless said otherwise."""
    from django.utils import timezone

    from apps.articles.services import article_create

    def make(**values: Any) -> Article:
        given = {"author": author.user, "title": "A title", "body": "<p>Some text</p>", **values}
        given.setdefault("published_at", timezone.now() - timedelta(hours=1))
        return article_create(**given)

    return make
