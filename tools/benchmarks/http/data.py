"""The data that is asked for: many users, many rows of a public list, and accounts that are signed in.

Run as a program, it fills the database: ``python -m tools.benchmarks.http.data USERS ROWS LOG``.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .requests import application_load, list_declared

PASSWORD = "a benchmark's own long passphrase"  # noqa: S105 - of accounts in a private database
ACCOUNTS = 400  # each submits one job in a run: an account has one export at a time


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account that is signed in."""

    email: str
    token: str


@dataclass(frozen=True, kw_only=True)
class People:
    """Staff with permission to view users, given directly, and users without rights."""

    staff: Account
    users: list[Account]
    staff_tokens: list[str]  # of the sessions of the same staff, the first that of ``staff``


def progress(text: str) -> None:
    """Write a line about what is under way."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def fill(*, users: int, rows: int, public: str | None) -> None:
    """Fill the migrated database, in one transaction and once: nothing is done if it has users. 1,000,000 take a minute or two.

    ``public``: the path of the public list whose table gets ``rows`` rows.
    """
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import Permission
    from django.db import connection, transaction

    from apps.accounts.models import User
    from apps.practices.database.lists import KeysetList
    from tests.rows import fill as table_fill
    from tests.rows import in_order, told_by
    from tests.test_plans import says

    if User.objects.exists():
        progress("data: kept from an earlier run")
        return
    model = list_declared(public)[0].model if public else None
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute("SET LOCAL lock_timeout = 0")
            cursor.execute("SET LOCAL maintenance_work_mem = '256MB'")
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        progress(f"data: {users:,} users")
        table_fill(User, users, owner=None, told=told_by(says(User), "COLUMNS"))
        password = make_password(PASSWORD)
        staff = User(email="staff@bench.example.com", name="Staff", is_staff=True, password=password)
        staff.save()
        staff.user_permissions.add(Permission.objects.get(codename="view_user"))
        User.objects.bulk_create(
            User(email=f"user{number}@bench.example.com", name="User", password=password)
            for number in range(min(ACCOUNTS, users))
        )
        if model is not None:
            progress(f"data: {rows:,} rows of {model._meta.db_table}")
            for one in in_order({model} & {declared.model for declared in KeysetList.declared}):
                table_fill(one, rows, owner=staff.pk, told=told_by(says(one), "COLUMNS"))
    with connection.cursor() as cursor:
        progress("data: VACUUM ANALYZE")
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("RESET statement_timeout")


def sign_in(*, sessions: int) -> People:
    """Delete what an earlier run has written (jobs, sessions), start so many sessions of the staff, and one of all others."""
    from django.utils import timezone

    from apps.accounts.models import Session, User
    from apps.accounts.services.events import NOWHERE
    from apps.accounts.services.sessions import session_start
    from apps.jobs.models import Job

    Job.objects.all().delete()
    Session.objects.all().delete()
    found = list(User.objects.filter(email__endswith="@bench.example.com").order_by("-is_staff", "email"))
    progress(f"data: sessions of {len(found)} accounts")

    def token_of(user: User) -> str:
        return str(session_start(user=user, origin=NOWHERE, now=timezone.now()).access)

    made = [Account(email=user.email, token=token_of(user)) for user in found]
    tokens = [made[0].token, *(token_of(found[0]) for _ in range(sessions - 1))]
    return People(staff=made[0], users=made[1:], staff_tokens=tokens)


def public_list() -> str | None:
    """Return the path of the first list that anybody may read, by the OpenAPI document, or None."""
    from drf_spectacular.generators import SchemaGenerator

    for path, item in SchemaGenerator().get_schema(request=None, public=True)["paths"].items():
        operation = item.get("get", {})
        names = {parameter["name"] for parameter in operation.get("parameters", [])}
        if {"cursor", "ordering"} <= names and {} in operation.get("security", []):
            return str(path)
    return None


if __name__ == "__main__":
    application_load(Path(sys.argv[3]))
    fill(users=int(sys.argv[1]), rows=int(sys.argv[2]), public=public_list())
