"""Database constraints, and Django's own commands with this user model."""

from __future__ import annotations

from io import StringIO
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from apps.accounts.models import Session, User
from apps.accounts.services.demo import DEMO_EMAIL, DEMO_PASSWORD, DemoRefused, demo_user_create
from apps.accounts.services.users import EmailTaken, user_register
from apps.practices.validation.addresses import email_normalised
from tests.apps.accounts.factories import PASSWORD, sign_in, user_create
from tests.races import at_once

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        (" ada@example.com ", "ada@example.com"),
        ("ada@MÜNCHEN.example", "ada@xn--mnchen-3ya.example"),
        ("ada@münchen.example", "ada@xn--mnchen-3ya.example"),
        ("ada@faß.example", "ada@xn--fa-hia.example"),
        ("no address", "no address"),
        ("ada@..", "ada@.."),
    ],
)
def test_address_has_one_form(written: str, stored: str) -> None:
    assert email_normalised(written) == stored
    assert email_normalised(stored) == stored


def test_database_refuses_other_forms_of_addresses() -> None:
    user = user_create(email="ada@example.com")
    for email in ("Ada@example.com", "ADA@EXAMPLE.COM"):
        with pytest.raises(IntegrityError, match="accounts_user_email_lower"), transaction.atomic():
            User.objects.filter(pk=user.pk).update(email=email)
    with pytest.raises(IntegrityError, match="unique"), transaction.atomic():
        User.objects.create(email="ada@example.com")


def test_ids_are_time_ordered_uuids() -> None:
    first, second = user_create(), user_create()
    assert isinstance(first.pk, UUID)
    assert first.pk.version == 7
    assert first.pk < second.pk
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_typeof(id)::text FROM accounts_user LIMIT 1")
        assert cursor.fetchone() == ("uuid",)


def test_ended_session_has_a_reason() -> None:
    session_id = sign_in(user_create()).session_id
    with pytest.raises(IntegrityError, match="accounts_session_end_has_reason"), transaction.atomic():
        Session.objects.filter(pk=session_id).update(ended_at=timezone.now())


@pytest.mark.django_db(transaction=True)
def test_one_of_parallel_registrations_gets_the_address() -> None:
    def register(number: int) -> bool:
        try:
            user_register(
                email="ada@example.com" if number % 2 else "ADA@example.com", password=PASSWORD, now=timezone.now()
            )
        except EmailTaken:
            return False
        return True

    assert sorted(at_once(4, register)) == [False, False, False, True]
    assert User.objects.count() == 1


@pytest.mark.parametrize("email", ["root@localhost", '"root"@example.com', "root@[127.0.0.1]", "root@☕.example"])
def test_createsuperuser_refuses_invalid_addresses(email: str) -> None:
    with pytest.raises(CommandError, match="valid email address"):
        call_command("createsuperuser", "--noinput", "--email", email, verbosity=0, stderr=StringIO())
    assert not User.objects.exists()


def test_createsuperuser_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_EMAIL", "Root@Example.com")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", interactive=False, stdout=StringIO())
    root = User.objects.get()
    assert root.email == "root@example.com"
    assert root.is_staff
    assert root.is_superuser
    assert root.check_password(PASSWORD)
    assert User.objects.get_by_natural_key("ROOT@example.com") == root
    with pytest.raises(CommandError, match="already"):
        call_command("createsuperuser", interactive=False, stdout=StringIO(), stderr=StringIO())


def test_demo_account_exists_only_in_dev_and_test(settings: pytest.FixtureRequest) -> None:
    user = demo_user_create()
    assert user.email == DEMO_EMAIL
    assert user.check_password(DEMO_PASSWORD)
    assert not user.is_staff
    assert demo_user_create() == user
    for name in ("staging", "prod"):
        settings.ENVIRONMENT_NAME = name
        with pytest.raises(DemoRefused, match=name):
            demo_user_create()
