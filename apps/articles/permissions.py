"""Who may read and write which article: authors their own, holders of Django's model permission all of them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin

from apps.articles.selectors import article_may_read_all
from apps.practices.errors import NotAuthenticated, NotFound, PermissionDenied

Viewer = AbstractBaseUser | AnonymousUser
Action = Literal["change", "delete"]


def may_read(viewer: Viewer, *, author_id: UUID | None, published_at: datetime | None, now: datetime) -> bool:
    """Return whether the viewer may read an article with this author and publication date."""
    is_public = published_at is not None and published_at <= now
    return is_public or _is_author(viewer, author_id) or article_may_read_all(viewer)


def may_write(viewer: Viewer, *, author_id: UUID | None, action: Action) -> bool:
    """Return whether the viewer may change or delete an article by this author."""
    return _is_author(viewer, author_id) or _has_permission(viewer, action)


def require_write(
    viewer: Viewer, *, author_id: UUID | None, published_at: datetime | None, action: Action, now: datetime
) -> None:
    """Raise ``NotFound`` (404) if the viewer may not read the article, ``PermissionDenied`` (403) if they may only read it."""
    if may_write(viewer, author_id=author_id, action=action):
        return
    if may_read(viewer, author_id=author_id, published_at=published_at, now=now):
        raise PermissionDenied(f"Only the author, or a user with the permission, may {action} this article.")
    raise NotFound()


def unpublished_author(viewer: Viewer) -> UUID | None:
    """Return the only author whose unpublished articles the viewer may list, or None if they may list all.

    Raise ``NotAuthenticated`` (401) if the viewer is not signed in.
    """
    if not viewer.is_authenticated:
        raise NotAuthenticated("Sign in to list articles that are not published.")
    return None if article_may_read_all(viewer) else viewer.pk


def _is_author(viewer: Viewer, author_id: UUID | None) -> bool:
    return viewer.is_authenticated and viewer.pk == author_id


def _has_permission(viewer: Viewer, action: str) -> bool:
    return isinstance(viewer, PermissionsMixin) and viewer.has_perm(f"articles.{action}_article")
