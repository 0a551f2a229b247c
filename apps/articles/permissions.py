"""Who may do what with which article: authors with theirs, holders of Django's model permission with all."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin

from apps.articles.selectors import article_may_read_all
from apps.practices.errors import NotAuthenticated, NotFound, PermissionDenied

Viewer = AbstractBaseUser | AnonymousUser
Action = Literal["change", "delete"]


def may_read(viewer: Viewer, *, author_id: UUID | None, published_at: datetime | None, now: datetime) -> bool:
    """Say whether the viewer may see an article of this author and this date of publication."""
    public = published_at is not None and published_at <= now
    return public or _is_author(viewer, author_id) or article_may_read_all(viewer)


def may_write(viewer: Viewer, *, author_id: UUID | None, action: Action) -> bool:
    """Say whether the viewer may change, or delete, an article of this author."""
    return _is_author(viewer, author_id) or _holds(viewer, action)


def require_write(
    viewer: Viewer, *, author_id: UUID | None, published_at: datetime | None, action: Action, now: datetime
) -> None:
    """Refuse with `NotFound` (404) what the viewer may not even see, with `PermissionDenied` (403) what they may only read."""
    if may_write(viewer, author_id=author_id, action=action):
        return
    if may_read(viewer, author_id=author_id, published_at=published_at, now=now):
        raise PermissionDenied(f"Only the author, or staff with the permission, may {action} this article.")
    raise NotFound()


def unpublished_of(viewer: Viewer) -> UUID | None:
    """Give the author to whom a viewer's lists of unpublished articles are confined; None when they may read all.

    Raises `NotAuthenticated` (401) for nobody.
    """
    if not viewer.is_authenticated:
        raise NotAuthenticated("Sign in to see articles that are not published.")
    return None if article_may_read_all(viewer) else viewer.pk


def _is_author(viewer: Viewer, author_id: UUID | None) -> bool:
    return viewer.is_authenticated and viewer.pk == author_id


def _holds(viewer: Viewer, action: str) -> bool:
    return isinstance(viewer, PermissionsMixin) and viewer.has_perm(f"articles.{action}_article")
