"""The route of a path. Django tries the patterns of all routes in turn, so that the last of thirty takes 30 µs.

Most routes begin with three literal segments, such as ``api/v1/users``. For each such beginning, the routes that can match a path
with it are found once, and Django resolves the path among these: the same route, and the same arguments.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.urls import ResolverMatch, URLPattern, URLResolver, get_resolver
from django.urls import resolve as django_resolve
from django.urls.resolvers import RoutePattern

SEGMENTS = 3
Routes = Iterable[URLPattern | URLResolver]


def resolve(path: str, urlconf: Any) -> ResolverMatch:
    """Return what Django's ``resolve`` does; raise ``Resolver404``, which may name fewer of the patterns that do not match."""
    resolver = _resolvers(urlconf).get("/".join(path.split("/", SEGMENTS + 1)[1 : SEGMENTS + 1]))
    return django_resolve(path, urlconf) if resolver is None else resolver.resolve(path)


@lru_cache(maxsize=16)
def _resolvers(urlconf: Any) -> dict[str, URLResolver]:
    """Return a resolver with the routes that can match, by the first segments of a path."""
    if settings.USE_I18N:
        return {}  # a route may be translated
    root = get_resolver(urlconf)
    beginnings = {"/".join(found) for found in _beginnings(root.url_patterns) if len(found) == SEGMENTS}
    return {one: URLResolver(root.pattern, _fitting(root.url_patterns, one)) for one in beginnings}


def _beginnings(routes: Routes, before: str = "") -> Iterator[list[str]]:
    for route in routes:
        literal, is_whole = _literal(route, before)
        if isinstance(route, URLResolver) and is_whole:
            yield from _beginnings(route.url_patterns, literal)
        else:
            yield literal.split("/")[:SEGMENTS]


def _fitting(routes: Routes, beginning: str, before: str = "") -> list[URLPattern | URLResolver]:
    """Return the routes that can match ``beginning``, or it and a slash and more, in their order."""
    kept: list[URLPattern | URLResolver] = []
    for route in routes:
        literal, is_whole = _literal(route, before)
        if not (f"{beginning}/".startswith(literal) or f"{literal}/".startswith(f"{beginning}/")):
            continue
        if isinstance(route, URLResolver) and is_whole:
            inner = _fitting(route.url_patterns, beginning, literal)
            if not inner:
                continue
            route = URLResolver(route.pattern, inner, route.default_kwargs, route.app_name, route.namespace)
        kept.append(route)
    return kept


def _literal(route: URLPattern | URLResolver, before: str) -> tuple[str, bool]:
    """Return the text that a path must begin with, and whether that is all that the route asks of it."""
    if type(route.pattern) is not RoutePattern:
        return before, False
    literal, parameter, _ = str(route.pattern).partition("<")
    return before + literal, not parameter
