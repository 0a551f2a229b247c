"""The works that are measured: each is a name and the requests that do it. Operations are found in the OpenAPI document."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .data import PASSWORD, People
from .requests import Request, call, list_declared

PAGES = 4000  # different deep pages
NAMES = {
    "health": "is the process alive",
    "list-cached": "first page of the public list, anonymous, from the cache",
    "user-by-key": "staff with permission reads one of the users",
    "user-by-key-sessions": "the same with the tokens of --sessions sessions in turn",
    "me": "a user reads the own account",
    "item": "a user reads one row of the public list",
    "page-first": "first page of 25 rows of the public list, signed in, not cached",
    "page-deep": "pages of 25 rows of the public list at any depth, signed in, not cached",
    "users-first": "staff reads the first page of 25 users, its representation cached, rights checked",
    "users-deep": "staff pages through the users, at any depth",
    "write": "a user changes the own name",
    "login": "email and password for tokens",
    "job": "a user submits a job (export of the account), each account once",
}
PUBLIC = ("list-cached", "item", "page-first", "page-deep")


@dataclass(frozen=True, kw_only=True)
class Work:
    """Requests that are sent in turn. ``once``: each only once, since a repetition would do something else.

    ``connections``: the most that ask at once. A web process hashes few passwords at a time and refuses more logins (503).
    """

    name: str
    requests: list[Request]
    once: bool = False
    connections: int | None = None

    @property
    def what(self) -> str:
        """Return what the work is, in words."""
        return NAMES[self.name]


def works(people: People, public: str | None, only: list[str]) -> Iterator[Work]:
    """Yield the works of which the names are given, or all. Without a public list, those that need one are left out."""
    for name in only or NAMES:
        if public or name not in PUBLIC:
            requests = _requests(name, people, public or "")
            yield Work(name=name, requests=requests, once=name == "job", connections=4 if name == "login" else None)


def _requests(name: str, people: People, public: str) -> list[Request]:
    staff, user = people.staff.token, people.users[0].token
    make: dict[str, Callable[[], list[Request]]] = {
        "health": lambda: [Request(path="/healthz")],
        "list-cached": lambda: [Request(path=public)],
        "user-by-key": lambda: [
            Request(path=f"/api/v1/users/{id}", token=staff) for id in _ids("/api/v1/users", staff)
        ],
        "user-by-key-sessions": lambda: [
            Request(path=f"/api/v1/users/{id}", token=people.staff_tokens[number % len(people.staff_tokens)])
            for number, id in enumerate(_ids("/api/v1/users", staff))
        ],
        "me": lambda: [Request(path="/api/v1/me", token=user)],
        "item": lambda: [Request(path=f"{public}/{id}", token=user) for id in _ids(public, user)],
        "page-first": lambda: [Request(path=f"{public}?limit=25", token=user)],
        "page-deep": lambda: _pages(public, user),
        "users-first": lambda: [Request(path="/api/v1/users?limit=25", token=staff)],
        "users-deep": lambda: _pages("/api/v1/users", staff),
        "write": lambda: [
            _json("PATCH", "/api/v1/me", {"name": f"Name {number}"}, token=account.token)
            for number in range(2)
            for account in people.users[:20]
        ],
        "login": lambda: [
            _json("POST", "/api/v1/auth/login", {"email": account.email, "password": PASSWORD})
            for account in people.users
        ],
        "job": lambda: [Request(method="POST", path="/api/v1/me/export", token=one.token) for one in people.users],
    }
    return make[name]()


def _json(method: str, path: str, content: dict[str, Any], token: str | None = None) -> Request:
    return Request(method=method, path=path, body=json.dumps(content).encode(), token=token)


def _pages(path: str, token: str, wanted: int = PAGES) -> list[Request]:
    """Return requests for pages that begin after rows from all over the table, in the default order."""
    from django.db import connection

    from apps.practices.database.cursors import Cursor, cursor_encode

    declared, query = list_declared(path, token)
    meta = declared.model._meta
    names = [name.lstrip("-") for name in declared.orderings[query.ordering]]
    columns = ", ".join(connection.ops.quote_name(meta.get_field(name).column) for name in names)
    table = connection.ops.quote_name(meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute("SELECT greatest(reltuples, 1) FROM pg_class WHERE oid = %s::regclass", [table])
        [(rows,)] = cursor.fetchall()
        percent = min(100.0, 150.0 * wanted / rows)
        sample = f"SELECT {columns} FROM {table} TABLESAMPLE BERNOULLI (%s) REPEATABLE (13)"  # nosec B608 - quoted names
        cursor.execute(f"{sample} WHERE ({columns}) IS NOT NULL", [percent])
        found = cursor.fetchall()
    # A shuffle that is the same in every run, so that figures before and after a change are of the same pages.
    random.Random(13).shuffle(found)  # noqa: S311 - a choice of rows, not a secret
    cursors = (cursor_encode(Cursor(values=tuple(values)), binding=query.binding) for values in found[:wanted])
    return [Request(path=f"{path}?limit=25&cursor={cursor}", token=token) for cursor in cursors]


def _ids(path: str, token: str) -> list[str]:
    """Return the ids of rows from all over the list that the token's owner may read."""
    pages = [json.loads(call(request)) for request in _pages(path, token, wanted=40)]
    return list(dict.fromkeys(row["id"] for page in pages for row in page["results"]))
