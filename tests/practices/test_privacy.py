"""Personal data: every column that refers to users is declared, and none prevents the deletion of an account."""

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
from apps.practices.privacy.checks import declaration_errors, deletion_errors
from apps.practices.privacy.personal import PersonalData, deleted_with_user, personal_data, user_columns
from tests.apps.accounts.factories import user_create
from tests.sample.models import Note, Remark
from tests.sample.services import note_create, remark_create

NAME = "sample.notes"


def test_every_column_is_declared() -> None:
    assert not run_checks(tags=["privacy"])
    assert {"account", "jobs", NAME} <= {data.name for data in personal_data()}
    columns = {(column.model, column.name) for column in user_columns()}
    assert (Note, "owner") in columns
    assert (User.groups.through, "user") in columns, "a table of many to many has a column too"
    assert columns | {(User, "pk")} == {(data.model, data.user) for data in personal_data()}


def test_undeclared_columns_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    personal_data()
    monkeypatch.delitem(PersonalData.declared, NAME)
    [error] = [error for error in run_checks(tags=["privacy"]) if error.id == "privacy.E001"]
    assert "sample.Note.owner" in error.msg
    assert "model=Note, user='owner'" in (error.hint or "")


@pytest.mark.parametrize("wrong", [{"fields": ("id", "colour")}, {"user": "writer"}])
def test_declarations_of_missing_fields_are_errors(monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]) -> None:
    declared = personal_data()
    monkeypatch.delitem(PersonalData.declared, NAME)
    changed = PersonalData(**{"name": NAME, "model": Note, "user": "owner", "fields": ("id",), **wrong})
    found = declaration_errors([*declared, changed], user_columns())
    assert [error.id for error in found] == ["privacy.E001"]
    assert NAME in found[0].msg


@pytest.mark.parametrize("rule", [models.PROTECT, models.RESTRICT, models.DO_NOTHING])
def test_columns_that_prevent_deletion_are_errors(monkeypatch: pytest.MonkeyPatch, rule: Any) -> None:
    monkeypatch.setattr(Note._meta.get_field("owner").remote_field, "on_delete", rule)
    [error] = deletion_errors(user_columns())
    assert error.id == "privacy.E002"
    assert "sample.Note.owner" in error.msg


@pytest.mark.parametrize("rule", [models.PROTECT, models.RESTRICT, models.DO_NOTHING])
def test_columns_that_prevent_cascades_are_errors(monkeypatch: pytest.MonkeyPatch, rule: Any) -> None:
    notes = next(data for data in personal_data() if data.name == NAME)
    monkeypatch.delitem(PersonalData.declared, NAME)
    replace(notes, erase=None)  # declares itself
    monkeypatch.setattr(Remark._meta.get_field("note").remote_field, "on_delete", rule)
    [error] = run_checks(tags=["privacy"])
    assert error.id == "privacy.E002"
    assert "sample.Remark.note" in error.msg
    assert deleted_with_user(Note)
    assert not deleted_with_user(Group)
    monkeypatch.setitem(PersonalData.declared, NAME, notes)
    assert not run_checks(tags=["privacy"]), "the service that erase names sees to it"
    assert not deleted_with_user(Note)


@pytest.mark.django_db
def test_deletion_with_references_of_others() -> None:
    owner, other = user_create(), user_create()
    note = note_create(owner=owner, title="Mine")
    kept = remark_create(owner=other, note=note_create(owner=other, title="Theirs"), text="Stays")
    remark_create(owner=owner, note=note, text="My own")
    remark_create(owner=other, note=note, text="A stranger's")
    user_delete(user=owner, now=timezone.now())
    assert not User.objects.filter(pk=owner.pk).exists()
    assert list(Remark.objects.all()) == [kept]


@pytest.mark.parametrize("given", [{}, {"fields": ("id",), "withheld": "Because."}])
def test_fields_or_withheld(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either fields or withheld"):
        PersonalData(name="undecided", model=Note, user="owner", **given)
    assert "undecided" not in PersonalData.declared


def test_names_are_unique() -> None:
    personal_data()
    with pytest.raises(ValueError, match="declared twice"):
        PersonalData(name=NAME, model=Note, user="owner", fields=("id",))
