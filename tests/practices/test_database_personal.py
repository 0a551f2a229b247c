"""database (130), whose data it is: every column that refers to users is declared, and none holds an account back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.checks import run_checks
from django.db import models
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.services.deletion import user_delete
from apps.practices.database.checks import holding_errors, personal_errors
from apps.practices.database.personal import PersonalData, goes_with_users, personal_data, user_columns
from tests.apps.accounts.factories import user_create
from tests.sample.models import Note, Remark
from tests.sample.services import note_create, remark_create

NAME = "sample.notes"


def test_every_column_is_declared() -> None:
    assert not run_checks(tags=["database"])
    assert {"account", "jobs", NAME} <= {data.name for data in personal_data()}
    columns = {(column.model, column.name) for column in user_columns()}
    assert (Note, "owner") in columns
    assert (User.groups.through, "user") in columns, "a table of many to many has a column too"
    assert columns | {(User, "pk")} == {(data.model, data.user) for data in personal_data()}


def test_a_column_that_is_forgotten_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    personal_data()
    monkeypatch.delitem(PersonalData.declared, NAME)
    [error] = [error for error in run_checks(tags=["database"]) if error.id == "database.E004"]
    assert "sample.Note.owner" in error.msg
    assert "model=Note, user='owner'" in (error.hint or "")


@pytest.mark.parametrize("wrong", [{"fields": ("id", "colour")}, {"user": "writer"}])
def test_a_declaration_of_what_there_is_not_is_found(monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]) -> None:
    declared = personal_data()
    monkeypatch.delitem(PersonalData.declared, NAME)
    changed = PersonalData(**{"name": NAME, "model": Note, "user": "owner", "fields": ("id",), **wrong})
    found = personal_errors([*declared, changed], user_columns())
    assert [error.id for error in found] == ["database.E004"]
    assert NAME in found[0].msg


@pytest.mark.parametrize("rule", [models.PROTECT, models.RESTRICT, models.DO_NOTHING])
def test_a_column_that_holds_an_account_back_is_found(monkeypatch: pytest.MonkeyPatch, rule: Any) -> None:
    monkeypatch.setattr(Note._meta.get_field("owner").remote_field, "on_delete", rule)
    [error] = holding_errors(user_columns())
    assert error.id == "database.E005"
    assert "sample.Note.owner" in error.msg


@pytest.mark.parametrize("rule", [models.PROTECT, models.RESTRICT, models.DO_NOTHING])
def test_a_column_that_holds_what_goes_with_an_account_is_found(monkeypatch: pytest.MonkeyPatch, rule: Any) -> None:
    notes = next(data for data in personal_data() if data.name == NAME)
    monkeypatch.delitem(PersonalData.declared, NAME)
    replace(notes, erase=None)  # declares itself
    monkeypatch.setattr(Remark._meta.get_field("note").remote_field, "on_delete", rule)
    [error] = run_checks(tags=["database"])
    assert error.id == "database.E005"
    assert "sample.Remark.note" in error.msg
    assert goes_with_users(Note)
    assert not goes_with_users(Group)
    monkeypatch.setitem(PersonalData.declared, NAME, notes)
    assert not run_checks(tags=["database"]), "the service that erase names sees to it"
    assert not goes_with_users(Note)


@pytest.mark.django_db
def test_an_account_goes_though_others_refer_to_what_is_its_own() -> None:
    owner, other = user_create(), user_create()
    note = note_create(owner=owner, title="Mine")
    kept = remark_create(owner=other, note=note_create(owner=other, title="Theirs"), text="Stays")
    remark_create(owner=owner, note=note, text="My own")
    remark_create(owner=other, note=note, text="A stranger's")
    user_delete(user=owner, now=timezone.now())
    assert not User.objects.filter(pk=owner.pk).exists()
    assert list(Remark.objects.all()) == [kept]


@pytest.mark.parametrize("said", [{}, {"fields": ("id",), "withheld": "Because."}])
def test_a_declaration_gives_out_or_says_why_not(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="say which fields are given out, or why none are"):
        PersonalData(name="undecided", model=Note, user="owner", **said)
    assert "undecided" not in PersonalData.declared


def test_two_of_one_name_are_refused() -> None:
    personal_data()
    with pytest.raises(ValueError, match="two declarations"):
        PersonalData(name=NAME, model=Note, user="owner", fields=("id",))
