"""Every list of the admin with impossible look-ups in the URL: never a 500."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.db import transaction
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from apps.accounts.models import User
from tests.apps.accounts.factories import admin_sign_in, user_create

pytestmark = pytest.mark.django_db
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label_lower)
LOOKUPS = {
    "": ("x", "9" * 40, "\x00", ""),
    "__year": ("99999999", "-1", "x", "9" * 40),
    "__month": ("13",),
    "__in": ("1,,2", "x,y", "9" * 40),
    "__range": ("1", "", "x,y", "0001-01-01,10000-01-01"),
    "__gte": ("9999-12-31T23:59:59-12:00", "0001-01-01", "10000-01-01", "infinity", "NaN", "1e999", "9" * 40),
    "__date": ("0001-01-01", "2026-02-30", "24:00"),
    "__isnull": ("x", "", "2"),
    "__regex": ("(", "\x00"),
}
CONTROLS = {
    "o": ("9" * 30, "-1", "x", "1.2.3", "1.-1.--1", ""),
    "p": ("0", "-1", "9" * 30, "x", "", "1.5"),
    "all": ("", "x"),
    "q": ("x" * 5000, "\x00", '"', "'" * 99, "a " * 500, "\\"),
    "_facets": ("", "x", "True"),
    "_to_field": ("id", "password", "x"),
    "_popup": ("1", "x"),
    "_changelist_filters": ("x", "created_at__year=99999999", "%"),
    "e": ("1", "x"),
}


def queries(model: type[Model]) -> Iterator[dict[str, str]]:
    """Yield query strings: each look-up of each column with each value, and what steers the list itself."""
    kinds = {type(field): field for field in model._meta.concrete_fields}
    for field in kinds.values():
        for lookup, values in LOOKUPS.items():
            for value in values:
                yield {f"{field.name}{lookup}": value}
    for name, values in CONTROLS.items():
        for value in values:
            yield {name: value}


@pytest.mark.filterwarnings("ignore:DateTimeField .* received a naive datetime:RuntimeWarning")  # a date is asked for
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_query_of_a_list_is_a_failure(model: type[Model]) -> None:
    client = Client(headers={"accept": "text/html"}, raise_request_exception=False)
    admin_sign_in(client, user_create(is_staff=True, is_superuser=True))
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    failed, seen = [], set()
    for query in queries(model):
        with transaction.atomic():
            response = client.get(f"{path}?{urlencode(query)}")
            transaction.set_rollback(True)
        seen.add(response.status_code)
        if response.status_code not in (200, 302, 400):
            failed.append((response.status_code, query))
    assert not failed, (len(failed), failed[:40])
    assert client.get(path).status_code == 200


def test_a_look_up_that_cannot_be_leads_to_the_plain_list() -> None:
    client = Client(headers={"accept": "text/html"}, raise_request_exception=False)
    admin_sign_in(client, user_create(is_staff=True, is_superuser=True))
    path = reverse("admin:accounts_user_changelist")
    response = client.get(f"{path}?created_at__year=99999999")
    assert (response.status_code, response.headers["Location"]) == (302, f"{path}?e=1")
    assert client.get(response.headers["Location"]).status_code == 200


def test_a_mistake_of_ours_is_not_taken_for_a_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that fails whatever is asked is a failure once the query is gone: nobody is sent round in a circle."""
    client = Client(headers={"accept": "text/html"}, raise_request_exception=False)
    admin_sign_in(client, user_create(is_staff=True, is_superuser=True))
    path = reverse("admin:accounts_user_changelist")

    def broken(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(admin.site._registry[User], "get_queryset", broken)
    response = client.get(f"{path}?is_active__exact=1")
    assert response.status_code == 302
    assert client.get(response.headers["Location"]).status_code == 500
    assert client.get(path).status_code == 500
