"""Access rules: the tables beside each app's tests, and helpers to execute them.

``tests/apps/<app>/operations.txt`` has one row for each operation and each kind of object that it may meet; its columns are
explained in CONTRIBUTING.md. ``scenario.py`` beside it makes the objects and gives the bodies.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import Model
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils import timezone
from django.utils.http import urlencode
from drf_spectacular.generators import SchemaGenerator

from apps.accounts.models import EndReason, User
from apps.accounts.selectors.sessions import sessions_forget_all
from apps.accounts.services.sessions import session_end
from apps.accounts.services.users import user_deactivate
from tests.apps.accounts.factories import sign_in, user_create
from tests.caches import caches_clear
from tests.processes import ROOT

CALLERS = ("nobody", "ended", "other", "owner", "staff", "holder", "admin")
COLUMNS = ("operation", "method", "path", "on", "permission", *CALLERS)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SAMPLE = "sample"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table. `operation` is None outside the OpenAPI document, `on` and `permission` where there is none."""

    app: str
    operation: str | None
    method: str
    path: str
    on: str | None
    permission: str | None
    expected: Mapping[str, int]

    def __str__(self) -> str:
        return " ".join(filter(None, (self.operation, self.method, self.path, self.on)))


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What the operations of an app act on.

    `objects`: a name in the column `on` -> what makes the object for its owner. `bodies`: an operation id -> a body that the
    operation takes, or what makes one for the owner; bytes in it are a file. `admin_closed`: a model's name -> what its admin
    page lets nobody do (`"add"`, `"change"`, `"delete"`); `admin_superusers`: what it lets superusers alone do.
    """

    objects: Mapping[str, Callable[[User], Model]] = field(default_factory=dict)
    bodies: Mapping[str, Any] = field(default_factory=dict)
    admin_closed: Mapping[str, set[str]] = field(default_factory=dict)
    admin_superusers: Mapping[str, set[str]] = field(default_factory=dict)

    def body(self, operation: str | None, owner: User) -> dict[str, Any] | None:
        """Return a body that the operation accepts, or None if it has none."""
        body = self.bodies.get(operation or "")
        return body(owner) if callable(body) else body


class Person(NamedTuple):
    """Somebody who calls: which column they stand for, what tells them from others in it, and the headers they send."""

    caller: str
    name: str
    headers: Mapping[str, Any]
    user: User  # whose rows a body of theirs refers to; the owner, where nobody is signed in


@cache
def rows() -> tuple[Row, ...]:
    """Read every app's table; raise ValueError naming a line that is no row."""
    return tuple(row for app, folder in _folders().items() for row in _rows(app, folder / "operations.txt"))


@cache
def document() -> Mapping[str, Any]:
    """Return the OpenAPI document of the routes that tests mount, the sample's included."""
    return SchemaGenerator().get_schema(request=None, public=True)


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """Return every operation of the document by method and path."""
    return {
        (method.upper(), path): operation
        for path, item in document()["paths"].items()
        for method, operation in item.items()
        if method.upper() in METHODS
    }


@cache
def scenarios() -> Mapping[str, Scenario]:
    """Return each app's scenario. It imports the apps' models, so Django has to be set up."""
    found = {}
    for app, folder in _folders().items():
        name = ".".join((folder / "scenario").relative_to(ROOT).parts)
        module = importlib.import_module(name) if (folder / "scenario.py").exists() else SimpleNamespace()
        names = ("objects", "bodies", "admin_closed", "admin_superusers")
        found[app] = Scenario(**{name: getattr(module, name.upper(), {}) for name in names})
    return found


def _folders() -> dict[str, Path]:
    tables = [*sorted((ROOT / "tests" / "apps").glob("*/operations.txt")), ROOT / "tests" / SAMPLE / "operations.txt"]
    return {table.parent.name: table.parent for table in tables}


def _rows(app: str, table: Path) -> Iterator[Row]:
    for number, line in enumerate(table.read_text().splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != len(COLUMNS):
            raise ValueError(
                f"{table.relative_to(ROOT)}, line {number}: {len(words)} columns instead of {len(COLUMNS)}"
            )
        operation, method, path, on, permission, *statuses = (None if word == "-" else word for word in words)
        expected = {caller: int(status or 0) for caller, status in zip(CALLERS, statuses, strict=True)}
        yield Row(
            app=app,
            operation=operation,
            method=method or "",
            path=path or "",
            on=on,
            permission=permission,
            expected=expected,
        )


def address(path: str, thing: Model | None) -> str:
    """Fill a path's parameters: the last with the object's key, others with its attribute of that name."""
    names = re.findall(r"{(\w+)}", path)

    def value(found: re.Match[str]) -> str:
        return str(getattr(thing, "pk" if found[1] == names[-1] else found[1]))

    return re.sub(r"{(\w+)}", value, path)


def send(client: Client, row: Row, thing: Model | None, body: Mapping[str, Any] | None, **headers: Any) -> Any:
    """Send the row's request, as a form when its body holds a file, as JSON otherwise."""
    is_form = any(isinstance(value, bytes) for value in (body or {}).values())
    sent = encoded(body, content_type="multipart/form-data" if is_form else "application/json")
    return client.generic(row.method, address(row.path, thing), **sent, **headers)


def people(owner: User, permission: str | None) -> list[Person]:
    """Create every caller. "holder" and "admin" have the permission, or every permission when none is named.

    Each has two sessions, so that there is another one to end.
    """

    def person(caller: str, name: str, user: User) -> Person:
        sign_in(user)
        return Person(caller, name, {"HTTP_AUTHORIZATION": f"Bearer {sign_in(user).access}"}, user)

    now = timezone.now()
    over = sign_in(owner)
    session_end(session_id=over.session_id, reason=EndReason.LOGOUT, now=now)
    gone = person("ended", "deactivated", user_create(is_staff=True, is_superuser=True))
    user_deactivate(user=gone.user, now=now)
    return [
        Person("nobody", "without a token", {}, owner),
        Person("ended", "of an ended session", {"HTTP_AUTHORIZATION": f"Bearer {over.access}"}, owner),
        gone._replace(user=owner),
        person("other", "another user", user_create()),
        person("owner", "the owner", owner),
        person("staff", "staff without the permission", user_create(is_staff=True)),
        *(
            person(caller, f"with the permission by {way}", _holding(permission, way=way, is_staff=is_staff))
            for caller, is_staff in (("holder", False), ("admin", True))
            for way in ("user", "group")
        ),
        person("admin", "superuser", user_create(is_staff=True, is_superuser=True)),
    ]


def _holding(permission: str | None, *, way: str, is_staff: bool) -> User:
    wanted = Permission.objects.all()
    if permission:
        label, _, codename = permission.partition(".")
        wanted = wanted.filter(content_type__app_label=label, codename=codename)
        assert wanted, f"there is no permission {permission}"
    user = user_create(is_staff=is_staff)
    if way == "user":
        user.user_permissions.set(wanted)
    else:
        group = Group.objects.create(name=f"Holders {user.pk}")
        group.permissions.set(wanted)
        user.groups.add(group)
    return user


def stored() -> dict[str, str]:
    """Return a digest of the rows of every table."""
    names = sorted(
        {model._meta.db_table for model in apps.get_models(include_auto_created=True) if model._meta.managed}
    )
    digest = "md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text), ''))"
    parts = [f"SELECT '{name}', {digest} FROM {connection.ops.quote_name(name)} AS t" for name in names]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts))
        return dict(cursor.fetchall())


@contextmanager
def undone() -> Iterator[None]:
    """Take back what is written inside, and forget what was cached. Only within a test's transaction."""
    caches_clear()
    sessions_forget_all()
    savepoint = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(savepoint)


def encoded(body: Mapping[str, Any] | None, *, content_type: str) -> dict[str, Any]:
    """Return the test client's arguments for a body; bytes in it become a file."""
    if body is None:
        return {}
    if content_type == "multipart/form-data":
        parts = {
            name: SimpleUploadedFile("file.csv", value) if isinstance(value, bytes) else str(value)
            for name, value in body.items()
        }
        return {"data": encode_multipart(BOUNDARY, parts), "content_type": MULTIPART_CONTENT}
    if content_type == "application/x-www-form-urlencoded":
        return {"data": urlencode({name: str(value) for name, value in body.items()}), "content_type": content_type}
    shown = {name: value.decode() if isinstance(value, bytes) else value for name, value in body.items()}
    return {"data": json.dumps(shown, cls=DjangoJSONEncoder), "content_type": content_type}
